// SPDX-License-Identifier: Apache-2.0
//! Checks a DASH presentation: the MPD followed by reloads and patches, the media of every Representation beside it.

mod clock;
mod media;
mod progress;

use std::time::Duration;

use headwater_manifests::dash::read::{self, Mpd, Period, Representation, Template, patch};
use headwater_manifests::rules::{Rule, dash as rules};
use headwater_media::MediaDuration;
use tokio::task::JoinSet;
use tokio::time::Instant;
use url::Url;

use super::client::{Answer, Client};
use super::http::{self, Class};
use super::report::Findings;
use clock::Clock;

/// Representations whose media is followed; further ones are noted and left out.
const REPRESENTATIONS_MAX: usize = 24;
/// Reloads in a row that fail before the MPD is given up.
const FAILURES_MAX: u32 = 3;

static UNAVAILABLE: Rule =
    Rule::must("mpd-unavailable", "23009-1 5.4.1", "an MPD that is to be loaded again can be, until it is static");
static PATCH_FAILED: Rule =
    Rule::must("patch-unavailable", "23009-1 5.15.2", "the patch that an MPD names can be fetched and read");

/// Every rule that this may judge.
pub(super) fn all_rules() -> Vec<&'static Rule> {
    let own = [&UNAVAILABLE, &PATCH_FAILED];
    let groups = [clock::RULES, media::RULES, progress::RULES, super::boxes::RULES, http::RULES];
    rules::all().into_iter().chain(own).chain(groups.into_iter().flatten().copied()).collect()
}

/// A Representation of one Period with where it is: what following its media takes.
#[derive(Clone, Debug)]
struct Place {
    base: Url,
    /// Start of its Period.
    period_start: MediaDuration,
    representation: Representation,
    template: Template,
}

impl Place {
    fn url(&self, number: u64, time: u64) -> Option<Url> {
        let media = self.template.media.as_deref()?;
        self.base.join(&Template::expand(media, &self.representation, number, time)).ok()
    }

    fn header(&self) -> Option<Url> {
        let name = self.template.initialization.as_deref()?;
        self.base.join(&Template::expand(name, &self.representation, 0, 0)).ok()
    }
}

/// The Representations of a Period that are addressed by a template.
fn places(mpd: &Mpd, period: &Period, url: &Url) -> Vec<Place> {
    let base = mpd.base.as_deref().map_or_else(|| url.clone(), |base| url.join(base).unwrap_or_else(|_| url.clone()));
    let place = |representation: &Representation| {
        let template = representation.template.clone()?;
        let step = |at: Url, base: &String| at.join(base).unwrap_or(at);
        let base = representation.bases.iter().fold(base.clone(), step);
        let period_start = period.start.unwrap_or(MediaDuration::ZERO);
        Some(Place { base, period_start, representation: representation.clone(), template })
    };
    period.representations.iter().filter_map(place).collect()
}

/// Checks what `first` began with for `seconds`.
pub(super) async fn check(client: &Client, first: &Answer, mpd: Mpd, seconds: u64) -> Findings {
    let mut findings = Findings::of(first.url.path());
    findings.count("MPDs");
    let until = Instant::now() + Duration::from_secs(seconds);
    let clock = clock::tell(client, &first.url, &mpd, &mut findings).await;
    rules::mpd::judge(&mpd, findings.verdict.at(first.url.path()));
    let Some(period) = mpd.periods.last() else {
        findings.note("the MPD has no Period");
        return findings;
    };
    let mut all = places(&mpd, period, &first.url);
    if all.len() > REPRESENTATIONS_MAX || all.len() < period.representations.len() {
        let count = period.representations.len();
        findings.note(format!("{count} Representations, {} followed", all.len().min(REPRESENTATIONS_MAX)));
        all.truncate(REPRESENTATIONS_MAX);
    }
    let mut running = JoinSet::new();
    for place in all.clone() {
        let (client, url, mpd) = (client.clone(), first.url.clone(), mpd.clone());
        running.spawn(async move { media::follow(&client, &url, mpd, place, clock, until).await });
    }
    follow(client, first, mpd.clone(), until, &mut findings).await;
    while let Some(found) = running.join_next().await {
        if let Ok(found) = found {
            findings.absorb(found);
        }
    }
    manners(client, &first.url, &mpd, &all, clock, &mut findings).await;
    findings
}

/// Reloads the MPD as often as it asks for, by patches where it names them.
async fn follow(client: &Client, first: &Answer, mut mpd: Mpd, until: Instant, findings: &mut Findings) {
    let mut failures = 0;
    while let (true, Some(period)) = (mpd.dynamic, mpd.minimum_update_period) {
        let pause = period.to_std().clamp(Duration::from_secs(1), Duration::from_secs(30));
        if Instant::now() + pause > until || failures >= FAILURES_MAX {
            return;
        }
        tokio::time::sleep(pause).await;
        let patched = patched(client, &first.url, &mpd, findings).await;
        let answer = client.manifest(&first.url).await;
        let read = match &answer {
            Ok(answer) if answer.is_ok() => read::parse(&answer.body).map_err(|error| error.to_string()),
            Ok(answer) => Err(answer.status.to_string()),
            Err(error) => Err(error.to_string()),
        };
        findings.verdict.at(first.url.path()).judge(&UNAVAILABLE, read.is_ok(), || {
            ("an MPD".to_owned(), read.as_ref().err().cloned().unwrap_or_default())
        });
        let Ok(newer) = read else {
            failures += 1;
            continue;
        };
        failures = 0;
        findings.count("MPDs");
        rules::mpd::judge(&newer, &mut findings.verdict);
        rules::succession::judge(&mpd, &newer, &mut findings.verdict);
        if let Some(patched) = patched {
            rules::patch::compare(&patched, &newer, &mut findings.verdict);
        }
        mpd = newer;
    }
}

/// The MPD as its patch makes it; `None` without one, or if it is not for this MPD any more.
async fn patched(client: &Client, url: &Url, mpd: &Mpd, findings: &mut Findings) -> Option<Mpd> {
    let location = mpd.patch.as_ref()?;
    let url = url.join(&location.uri).ok()?;
    let answer = client.manifest(&url).await;
    let read = match &answer {
        // Gone or moved: the client loads the MPD.
        Ok(answer) if answer.status.as_u16() == 410 => return None,
        Ok(answer) if answer.is_ok() => patch::parse(&answer.body).map_err(|error| error.to_string()),
        Ok(answer) => Err(answer.status.to_string()),
        Err(error) => Err(error.to_string()),
    };
    findings.verdict.at(url.path()).judge(&PATCH_FAILED, read.is_ok(), || {
        ("a patch".to_owned(), read.as_ref().err().cloned().unwrap_or_default())
    });
    let read = read.ok()?;
    findings.count("patches");
    rules::patch::judge(mpd, &read, &mut findings.verdict)
}

/// How the MPD, a header and a segment are answered.
async fn manners(client: &Client, url: &Url, mpd: &Mpd, all: &[Place], clock: Clock, findings: &mut Findings) {
    let Some(place) = all.first() else { return };
    let seconds = media::segment_seconds(&place.template).max(1);
    http::object(client, url, Class::Mpd, seconds, findings).await;
    if let Some(header) = place.header() {
        http::object(client, &header, Class::Media, seconds, findings).await;
    }
    let newest = media::newest(mpd, place, clock.now()).and_then(|(number, time)| place.url(number, time));
    if let Some(newest) = newest {
        http::object(client, &newest, Class::Media, seconds, findings).await;
        http::far_future(client, &newest, seconds, findings).await;
    }
}
