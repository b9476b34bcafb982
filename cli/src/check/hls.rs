// SPDX-License-Identifier: Apache-2.0
//! Checks an HLS presentation: every rendition followed, then all of them side by side, then the server's manners.

mod follow;
mod media;
mod probe;
mod reload;

use std::collections::BTreeMap;
use std::time::Duration;

use headwater_manifests::hls::read::{self, Media, Multivariant, Playlist};
use headwater_manifests::rules::hls::{multivariant, renditions};
use headwater_manifests::rules::{Rule, hls as rules};
use headwater_media::MediaDuration;
use tokio::task::JoinSet;
use tokio::time::Instant;
use url::Url;

use super::client::{Answer, Client};
use super::http::{self, Class};
use super::report::Findings;
use follow::Followed;

/// Renditions followed; further ones are noted and left out.
const RENDITIONS_MAX: usize = 24;

static UNAVAILABLE: Rule =
    Rule::must("playlist-unavailable", "rfc8216bis 6.2.4", "every playlist that is named can be fetched and read");
static BANDWIDTH_LOW: Rule = Rule::should(
    "bandwidth-exceeded",
    "HLS Authoring Specification",
    "the measured peak of a variant is at most 125 % of its BANDWIDTH",
);
static MEDIA_TIMES_DIFFER: Rule = Rule::must(
    "pdt-media-time-differs",
    "rfc8216bis 6.2.4",
    "every rendition dates the same instant of media alike, within a picture or two",
);
static MEDIA_TIMES_LOOSE: Rule = Rule::should(
    "pdt-media-time-loose",
    "rfc8216bis 6.2.4, 4.4.4.6",
    "every rendition dates the same instant of media alike, to a millisecond",
);

/// Every rule that this may judge.
pub(super) fn all_rules() -> Vec<&'static Rule> {
    let own = [&UNAVAILABLE, &BANDWIDTH_LOW, &MEDIA_TIMES_DIFFER, &MEDIA_TIMES_LOOSE];
    let groups = [follow::RULES, reload::RULES, media::RULES, probe::RULES, super::boxes::RULES, http::RULES];
    rules::all().into_iter().chain(own).chain(groups.into_iter().flatten().copied()).collect()
}

/// A media playlist to follow.
#[derive(Clone, Debug)]
struct Rendition {
    url: Url,
    iframes: bool,
}

/// Reads a media playlist out of an answer.
fn playlist(answer: &Answer) -> Result<Media, String> {
    match read::parse(&answer.body) {
        _ if !answer.is_ok() => Err(format!("{}{}", answer.status, if answer.broken { ", broken off" } else { "" })),
        Ok(Playlist::Media(media)) => Ok(*media),
        Ok(Playlist::Multivariant(_)) => Err("a multivariant playlist".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Checks what `first` began with for `seconds`.
pub(super) async fn check(client: &Client, first: &Answer, parsed: Playlist, seconds: u64) -> Findings {
    let mut findings = Findings::default();
    findings.count("playlists");
    let (ladder, named) = match parsed {
        Playlist::Multivariant(ladder) => {
            multivariant::judge(&ladder, findings.verdict.at(first.url.path()));
            let named = named(&ladder, &first.url, &mut findings);
            (Some(ladder), named)
        }
        Playlist::Media(list) => (None, vec![Rendition { url: first.url.clone(), iframes: list.iframes_only }]),
    };
    let until = Instant::now() + Duration::from_secs(seconds);
    let followed = follow_all(client, &named, until, &mut findings).await;
    if named.len() > 1 {
        side_by_side(client, &followed, &mut findings).await;
    }
    if let Some(ladder) = &ladder {
        bandwidths(ladder, &first.url, &followed, &mut findings);
        let seconds = followed.first().map_or(2, |f| f.list.target_duration.unwrap_or(2));
        http::object(client, &first.url, Class::Playlist, seconds, &mut findings).await;
    }
    media_times(&followed, &mut findings);
    for rendition in pick(&followed) {
        probe::server(client, rendition, &mut findings).await;
    }
    findings
}

fn named(ladder: &Multivariant, base: &Url, findings: &mut Findings) -> Vec<Rendition> {
    let variants = ladder.variants.iter().map(|v| (Some(v.uri.as_str()), v.iframes));
    let others = ladder.renditions.iter().map(|r| (r.uri.as_deref(), false));
    let mut named: Vec<Rendition> = Vec::new();
    for (uri, iframes) in variants.chain(others) {
        let Some(Ok(url)) = uri.map(|uri| base.join(uri)) else { continue };
        if !named.iter().any(|known| known.url == url) {
            named.push(Rendition { url, iframes });
        }
    }
    if named.len() > RENDITIONS_MAX {
        findings.note(format!("{} playlists are named, the first {RENDITIONS_MAX} were followed", named.len()));
        named.truncate(RENDITIONS_MAX);
    }
    named
}

async fn follow_all(client: &Client, named: &[Rendition], until: Instant, findings: &mut Findings) -> Vec<Followed> {
    let mut running = JoinSet::new();
    for (index, rendition) in named.iter().enumerate() {
        let (client, rendition) = (client.clone(), rendition.clone());
        running.spawn(async move { (index, follow::run(client, rendition.url, rendition.iframes, until).await) });
    }
    let mut ended = BTreeMap::new();
    while let Some(outcome) = running.join_next().await {
        let Ok((index, outcome)) = outcome else { continue };
        let place = named[index].url.path().to_owned();
        let fault = outcome.as_ref().err().cloned();
        findings.verdict.at(&place).judge(&UNAVAILABLE, fault.is_none(), || {
            ("a media playlist".to_owned(), fault.clone().unwrap_or_default())
        });
        if let Ok((followed, own)) = outcome {
            findings.absorb(own);
            ended.insert(index, followed);
        }
    }
    ended.into_values().collect()
}

/// Three rounds over all playlists: the middle one is judged, the others say what each held before and after.
async fn side_by_side(client: &Client, followed: &[Followed], findings: &mut Findings) {
    let mut rounds: Vec<Vec<Option<Media>>> = Vec::new();
    let (mut apart, mut aged) = (Duration::ZERO, false);
    for round in 0..3 {
        let begun = Instant::now();
        let mut running = JoinSet::new();
        for (index, rendition) in followed.iter().enumerate() {
            let (client, url) = (client.clone(), rendition.url.clone());
            running.spawn(async move { (index, client.manifest(&url).await) });
        }
        let mut lists = vec![None; followed.len()];
        while let Some(answered) = running.join_next().await {
            let Ok((index, Ok(answer))) = answered else { continue };
            findings.count("playlists");
            aged |= answer.header("age").parse::<u64>().is_ok_and(|age| age > 0);
            lists[index] = playlist(&answer).ok();
        }
        if round == 1 {
            apart = begun.elapsed();
        }
        rounds.push(lists);
    }
    let [before, now, after] = &rounds[..] else { return };
    let listed: Vec<renditions::Rendition> = followed
        .iter()
        .zip(now)
        .filter_map(|(f, list)| {
            Some(renditions::Rendition { address: f.url.path(), list: list.as_ref()?, video: f.video })
        })
        .collect();
    renditions::judge(&listed, MediaDuration::from_std(apart + Duration::from_millis(100)), &mut findings.verdict);
    for (index, rendition) in followed.iter().enumerate() {
        let Some(list) = &now[index] else { continue };
        let others = followed.iter().enumerate().filter(|(i, f)| *i != index && !f.iframes && f.url != rendition.url);
        let siblings: Vec<renditions::Sibling> = others
            .map(|(i, f)| renditions::Sibling {
                address: f.url.path(),
                before: before[i].as_ref().filter(|_| !aged),
                // What a cache holds may be older than what is reported.
                after: after[i].as_ref().filter(|_| !aged),
            })
            .collect();
        let resolve = |uri: &str| rendition.url.join(uri).map_or_else(|_| uri.to_owned(), |url| url.path().to_owned());
        renditions::reports(list, &siblings, &resolve, findings.verdict.at(rendition.url.path()));
    }
}

/// What was measured of each variant and its sound, against what it says.
fn bandwidths(ladder: &Multivariant, base: &Url, followed: &[Followed], findings: &mut Findings) {
    let peak = |uri: &str| {
        let url = base.join(uri).ok()?;
        followed.iter().find(|f| f.url == url).map(|f| f.peak_bits).filter(|peak| *peak > 0)
    };
    for variant in ladder.variants.iter().filter(|v| !v.iframes) {
        let Some(own) = peak(&variant.uri) else { continue };
        let sound = ladder.renditions.iter().filter(|r| variant.audio.as_ref() == Some(&r.group));
        let sound = sound.filter_map(|r| r.uri.as_deref()).filter(|uri| *uri != variant.uri).filter_map(peak).max();
        let measured = own + sound.unwrap_or(0);
        findings.verdict.at(&variant.uri).judge(
            &BANDWIDTH_LOW,
            measured <= (variant.bandwidth / 4).saturating_mul(5),
            || (format!("a peak of at most 125 % of {} bit/s", variant.bandwidth), format!("{measured} bit/s")),
        );
    }
}

fn media_times(followed: &[Followed], findings: &mut Findings) {
    let mut dated = followed.iter().filter(|f| !f.iframes).filter_map(|f| Some((f, f.date_offset?)));
    let Some((first, offset)) = dated.next() else { return };
    for (other, theirs) in dated {
        let error = theirs - offset;
        for (rule, slack) in [(&MEDIA_TIMES_DIFFER, 50_000_000), (&MEDIA_TIMES_LOOSE, 2_000_000)] {
            findings.verdict.at(other.url.path()).judge(rule, error.abs() <= slack, || {
                let wanted = format!("date less media time as in {}", first.url.path());
                (wanted, format!("{:.6} s more", error as f64 / 1e9))
            });
        }
    }
}

/// One rendition of each kind is enough to learn a server's manners.
fn pick(followed: &[Followed]) -> impl Iterator<Item = &Followed> {
    let of = |video: bool| followed.iter().find(move |f| f.video == video && !f.iframes);
    of(true).into_iter().chain(of(false))
}
