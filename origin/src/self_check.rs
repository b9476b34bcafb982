// SPDX-License-Identifier: Apache-2.0
//! Tests what this origin publishes against the rules that `headwater check` judges others by, while it runs.
//!
//! Off the hot path: one task takes the texts that readers got, or would have got, after they were published, and judges
//! them on a thread of its own. Each look at a channel is timed, and the next one waits until the channel's budget of
//! processor time has paid for it: a look that took 1 ms is followed by the next 22 s later at the default of 160 ms an
//! hour. Usual looks take deltas, which are as long however long the window is; every [`FULL_EVERY`]th takes the whole
//! playlists and the MPDs.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use headwater_manifests::dash::read::{self as mpd, Mpd};
use headwater_manifests::hls::read::{self, Media, Playlist};
use headwater_manifests::rules::{Rule, Verdict, dash, hls};
use headwater_media::path::Object;
use headwater_media::{ChannelId, Kind, MediaDuration, TrackId};
use headwater_net::Shutdown;
use tokio::time::Instant;
use tracing::warn;

use crate::channel::{Channel, State};
use crate::edge::{Form, LiveEdge};
use crate::metrics::{ChannelLabel, Metrics, RuleLabel};
use crate::{Origin, config};

/// The first look and every so many after it take whole texts.
const FULL_EVERY: u64 = 16;
/// How often it is seen whether a look is due.
const TICK: Duration = Duration::from_secs(1);
/// Tracks may be published one after the other within this, beside a part.
const APART: MediaDuration = MediaDuration::from_millis(500);
const HOUR_MS: u64 = 3_600_000;

static UNREADABLE: Rule =
    Rule::must("manifest-unreadable", "rfc8216bis 4, 23009-1 5.3", "what is published can be read back");

/// Looks at every channel by turns until `shutdown`, or until the origin is gone.
pub async fn run(origin: Weak<Origin>, shutdown: Shutdown) {
    let mut watched: BTreeMap<ChannelId, Watched> = BTreeMap::new();
    loop {
        tokio::select! {
            () = tokio::time::sleep(TICK) => {}
            () = shutdown.started() => return,
        }
        let Some(origin) = origin.upgrade() else { return };
        // A reload may turn it on and off.
        if origin.config().self_check.cpu_ms_per_channel_hour == 0 {
            watched.clear();
            continue;
        }
        let channels = origin.channels();
        watched.retain(|id, _| {
            let here = channels.iter().any(|channel| channel.id == *id);
            if !here {
                forget(origin.metrics(), id);
            }
            here
        });
        for channel in channels {
            let due = watched.remove(&channel.id).unwrap_or_default();
            let id = channel.id.clone();
            let next = if due.at.is_none_or(|at| at <= Instant::now()) {
                due.look(channel, Arc::clone(&origin)).await
            } else {
                due
            };
            watched.insert(id, next);
            if shutdown.is_started() {
                return;
            }
        }
    }
}

/// Rows of a channel that is gone go with it.
fn forget(metrics: &Metrics, id: &ChannelId) {
    metrics.self_check_texts.remove(&ChannelLabel { channel: id.to_string() });
    for rule in hls::all().into_iter().chain(dash::all()).chain([&UNREADABLE]) {
        metrics.self_check_violations.remove(&RuleLabel { channel: id.to_string(), rule: rule.name });
    }
}

/// A channel between two looks.
#[derive(Debug, Default)]
struct Watched {
    /// When the next look is paid for.
    at: Option<Instant>,
    looks: u64,
    /// The tracks at the last look, to tell those that began anew.
    edges: BTreeMap<TrackId, Weak<LiveEdge>>,
    judge: Judge,
}

impl Watched {
    /// Judges what the channel publishes now, on a thread that may take its time.
    async fn look(mut self, channel: Arc<Channel>, origin: Arc<Origin>) -> Self {
        // An ended channel does not change any more.
        let view = channel.view();
        if !view.settled || (view.state == State::Ended && self.judge.ended) {
            return self;
        }
        let judged = tokio::task::spawn_blocking(move || {
            let begun = std::time::Instant::now();
            let full = self.looks.is_multiple_of(FULL_EVERY);
            let texts = self.texts(&channel, full);
            self.judge.ended = view.state == State::Ended;
            self.judge.look(channel.id.as_str(), &texts, origin.metrics());
            self.looks += 1;
            self.at = Some(Instant::now() + pause(&origin.config().self_check, begun.elapsed()));
            self
        });
        // A look that panicked is a bug in a rule, not in the channel: it begins anew.
        judged.await.unwrap_or_default()
    }

    fn texts(&mut self, channel: &Channel, full: bool) -> Texts {
        let edges = channel.edges();
        self.judge.previous.retain(|track, _| {
            let known = self.edges.get(track.as_str()).and_then(Weak::upgrade);
            known.zip(edges.get(track.as_str())).is_some_and(|(known, edge)| Arc::ptr_eq(&known, edge))
        });
        self.edges = edges.iter().map(|(id, edge)| (id.clone(), Arc::downgrade(edge))).collect();
        let view = channel.view();
        let form = if full { Form::Full } else { Form::Delta };
        let video = |id: &TrackId| view.ladder.of(Kind::Video).any(|track| track.id == *id);
        let listed = view.ladder.tracks().iter().filter(|track| track.kind != Kind::Metadata);
        let snapshots: Vec<_> =
            listed.filter_map(|track| Some((track.id.clone(), edges.get(&track.id)?.snapshot()))).collect();
        let playlists = snapshots.into_iter().filter(|(_, snapshot)| snapshot.is_listed()).map(|(id, snapshot)| {
            // NB: taken after every first one: what that one reports is in this one.
            let later = edges.get(&id).map_or_else(|| Arc::clone(&snapshot), |edge| edge.snapshot());
            let after = (!Arc::ptr_eq(&later, &snapshot)).then(|| later.text(Form::Delta));
            PlaylistText { track: id.to_string(), video: video(&id), text: snapshot.text(form), after }
        });
        let playlists = playlists.collect();
        let mpds = [(Object::Manifest, false), (Object::Timeline, true)].into_iter().filter(|_| full);
        let mpds =
            mpds.filter_map(|(name, timeline)| Some((name.to_string(), channel.manifests.text(channel, timeline)?)));
        let mpds = mpds.collect();
        let multivariant = full.then(|| view.multivariant(false).body.clone());
        Texts { playlists, mpds, multivariant }
    }
}

/// How long a look that took `cost` is paid for.
fn pause(config: &config::SelfCheck, cost: Duration) -> Duration {
    let budget = u128::from(config.cpu_ms_per_channel_hour.max(1));
    let nanos = cost.as_nanos().saturating_mul(u128::from(HOUR_MS)) / budget;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)).clamp(TICK, Duration::from_secs(3_600))
}

/// What a channel publishes at one moment.
#[derive(Debug, Default)]
pub struct Texts {
    /// Media playlists, full or deltas.
    pub playlists: Vec<PlaylistText>,
    /// MPDs with their names.
    pub mpds: Vec<(String, Bytes)>,
    /// The multivariant playlist.
    pub multivariant: Option<Bytes>,
}

/// A media playlist.
#[derive(Debug)]
pub struct PlaylistText {
    /// Whose.
    pub track: String,
    /// Of pictures.
    pub video: bool,
    /// As published.
    pub text: Bytes,
    /// As published a moment later, where it has changed.
    pub after: Option<Bytes>,
}

/// Judges a channel's texts, each against its predecessor.
#[derive(Debug, Default)]
pub struct Judge {
    /// Deltas, so that what is kept does not grow with the window.
    previous: BTreeMap<String, Media>,
    mpds: BTreeMap<String, Mpd>,
    ended: bool,
}

impl Judge {
    /// Judges `texts`, counts what is broken and says each broken rule in one line of the log.
    pub fn look(&mut self, channel: &str, texts: &Texts, metrics: &Metrics) {
        let verdict = self.judge(texts);
        let label = ChannelLabel { channel: channel.to_owned() };
        let count = texts.playlists.len() + texts.mpds.len() + usize::from(texts.multivariant.is_some());
        metrics.self_check_texts.get_or_create(&label).inc_by(count as u64);
        for tally in verdict.tallies().filter(|tally| tally.broken > 0) {
            let label = RuleLabel { channel: channel.to_owned(), rule: tally.rule.name };
            metrics.self_check_violations.get_or_create(&label).inc_by(tally.broken);
            let Some(first) = tally.examples.first() else { continue };
            warn!(
                channel,
                rule = tally.rule.name,
                level = tally.rule.level.as_str(),
                manifest = first.place,
                times = tally.broken,
                "own manifest breaks a rule: expected {}, got {}",
                first.expected,
                first.found,
            );
        }
    }

    fn judge(&mut self, texts: &Texts) -> Verdict {
        let mut verdict = Verdict::default();
        let mut read: Vec<(&PlaylistText, Media, Option<Media>)> = Vec::new();
        for playlist in &texts.playlists {
            verdict.at(&playlist.track);
            let Some(list) = media(&playlist.text, &mut verdict) else { continue };
            let after = playlist.after.as_ref().and_then(|text| media(text, &mut verdict));
            read.push((playlist, list, after));
        }
        for (playlist, list, after) in &read {
            verdict.at(&playlist.track);
            hls::media::judge(list, &mut verdict);
            if let Some(previous) = self.previous.get(&playlist.track) {
                hls::succession::judge(previous, list, &mut verdict);
            }
            if let Some(after) = after {
                hls::succession::judge(list, after, &mut verdict);
            }
            let siblings: Vec<_> = read
                .iter()
                // One that has just begun is not reported by all yet.
                .filter(|(other, list, _)| other.track != playlist.track && list.segments.len() > 1)
                .map(|(other, list, after)| hls::renditions::Sibling {
                    address: &other.track,
                    before: Some(list),
                    after: Some(after.as_ref().unwrap_or(list)),
                })
                .collect();
            let resolve = |uri: &str| uri.trim_start_matches("../").split('/').next().unwrap_or_default().to_owned();
            hls::renditions::reports(list, &siblings, &resolve, &mut verdict);
        }
        let renditions: Vec<_> = read
            .iter()
            .map(|(p, list, _)| hls::renditions::Rendition { address: &p.track, list, video: p.video })
            .collect();
        hls::renditions::judge(&renditions, APART, &mut verdict);
        self.previous =
            read.into_iter().map(|(p, list, after)| (p.track.clone(), recent(after.unwrap_or(list)))).collect();
        if let Some(text) = &texts.multivariant {
            verdict.at("multivariant.m3u8");
            if let Ok(Playlist::Multivariant(list)) = read::parse(text) {
                hls::multivariant::judge(&list, &mut verdict);
            }
        }
        for (name, text) in &texts.mpds {
            self.mpd(name, text, verdict.at(name));
        }
        verdict
    }

    fn mpd(&mut self, name: &str, text: &Bytes, verdict: &mut Verdict) {
        let read = mpd::parse(text);
        verdict.judge(&UNREADABLE, read.is_ok(), || {
            ("an MPD".to_owned(), read.as_ref().err().map(ToString::to_string).unwrap_or_default())
        });
        let Ok(read) = read else { return };
        dash::mpd::judge(&read, verdict);
        if let Some(previous) = self.mpds.get(name) {
            dash::succession::judge(previous, &read, verdict);
        }
        self.mpds.insert(name.to_owned(), read);
    }
}

fn media(text: &Bytes, verdict: &mut Verdict) -> Option<Media> {
    let read = read::parse(text);
    let fault = match &read {
        Ok(Playlist::Media(_)) => None,
        Ok(Playlist::Multivariant(_)) => Some("a multivariant playlist".to_owned()),
        Err(error) => Some(error.to_string()),
    };
    verdict.judge(&UNREADABLE, fault.is_none(), || ("a media playlist", fault.clone().unwrap_or_default()));
    if let Ok(Playlist::Media(list)) = read { Some(*list) } else { None }
}

/// The list with its newest segments only, as a delta would have it.
fn recent(mut list: Media) -> Media {
    const KEPT: usize = 16;
    let skipped = list.segments.len().saturating_sub(KEPT);
    list.segments.drain(..skipped);
    list.skipped_segments = list.skipped_segments.saturating_add(skipped as u64);
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_is_paid_for_before_the_next() {
        let config = config::SelfCheck { cpu_ms_per_channel_hour: 160 };
        assert_eq!(pause(&config, Duration::from_millis(1)), Duration::from_millis(22_500));
        assert_eq!(pause(&config, Duration::from_nanos(1)), TICK);
        assert_eq!(pause(&config, Duration::from_secs(9_999)), Duration::from_secs(3_600));
    }
}
