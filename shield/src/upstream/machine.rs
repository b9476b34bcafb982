// SPDX-License-Identifier: Apache-2.0
//! Everything a group knows of its origins, in one place: health by origin, the latch of each channel, the budget of
//! hedges. Told the time, asked under one short lock, logs each change once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::OriginId;
use super::budget::Budget;
use super::health::{Change, Fault, Health, Rules};
use super::latch::{Latches, Stall, Switch};
use super::voice::Voice;

/// Channels away from their preferred origin that are remembered at once.
const CHANNELS_MAX: usize = 16_384;

#[derive(Debug)]
pub(super) struct Machine {
    group: Arc<str>,
    rules: Rules,
    hedge: Option<Duration>,
    members: Vec<(OriginId, Health)>,
    names: Vec<(OriginId, Arc<str>)>,
    latches: Latches,
    budget: Budget,
    switches: u64,
    /// Who is told what changed, beside the log.
    voice: Option<Voice>,
}

impl Machine {
    pub(super) fn new(group: Arc<str>, rules: Rules, hedge: Option<Duration>) -> Self {
        Self {
            group,
            rules,
            hedge,
            members: Vec::new(),
            names: Vec::new(),
            latches: Latches::new(CHANNELS_MAX),
            budget: Budget::default(),
            switches: 0,
            voice: None,
        }
    }

    pub(super) fn speak(&mut self, voice: Voice) {
        self.voice = Some(voice);
    }

    /// Takes the origins of a new configuration, the preferred one first; those that stay keep their health.
    pub(super) fn reconfigure(
        &mut self,
        rules: Rules,
        hedge: Option<Duration>,
        origins: Vec<(OriginId, Arc<str>)>,
        now: Instant,
    ) {
        self.rules = rules;
        self.hedge = hedge;
        self.members = origins.iter().map(|(id, _)| (*id, self.health(*id))).collect();
        self.names = origins;
        let ids: Vec<_> = self.members.iter().map(|(id, _)| *id).collect();
        self.latches.sweep(&ids, now, &self.rules);
    }

    pub(super) fn rules(&self) -> &Rules {
        &self.rules
    }

    pub(super) fn order(&mut self, channel: Option<&Arc<str>>, boundary: bool, now: Instant) -> Vec<OriginId> {
        self.budget.earn();
        let none = Arc::from("");
        // What belongs to no channel has no segments that a switch could fall between.
        let boundary = boundary || channel.is_none();
        let (order, switch) = self.latches.order(channel.unwrap_or(&none), boundary, &self.members, now, &self.rules);
        if let Some(switch) = switch {
            self.switches += 1;
            self.tell(&switch);
        }
        order
    }

    /// The origin may be asked first for this channel.
    pub(super) fn is_usable(&self, origin: OriginId, channel: Option<&str>, now: Instant) -> bool {
        let stalled = self.latches.stall(channel.unwrap_or_default(), origin).is_some();
        self.health(origin).is_up(now, &self.rules) && !stalled
    }

    /// A hedge may be made for a request that `origin` has not answered since `started`.
    ///
    /// One whose heads usually come sooner and from which nothing at all came is probably hanging: every request it
    /// holds up is hedged. Otherwise it is merely slow, and hedges come out of the budget.
    pub(super) fn may_hedge(&mut self, origin: OriginId, started: Instant) -> bool {
        let health = self.health(origin);
        let usual = health.head_time();
        let hangs =
            health.is_silent_since(started) && usual.zip(self.hedge).is_some_and(|(usual, hedge)| usual < hedge);
        hangs || self.budget.spend()
    }

    pub(super) fn heard(&mut self, origin: OriginId, after: Option<Duration>, now: Instant) {
        if let Some((_, health)) = self.member(origin) {
            health.heard(after, now);
        }
    }

    pub(super) fn good(&mut self, origin: OriginId, now: Instant) {
        let rules = self.rules;
        let change = self.member(origin).and_then(|(_, health)| health.good(now, &rules));
        self.changed(origin, change);
    }

    /// Counts a fault; true if it took the origin down.
    pub(super) fn bad(&mut self, origin: OriginId, fault: Fault, now: Instant) -> bool {
        let rules = self.rules;
        let change = self.member(origin).and_then(|(_, health)| health.bad(fault, now, &rules));
        self.changed(origin, change);
        change.is_some()
    }

    /// Another origin answered a request that `origin` was given first, at `started`. It counts as bad if nothing at all
    /// came from it since: a slow answer among others is no fault. True if that took it down.
    pub(super) fn outrun(&mut self, origin: OriginId, started: Instant, now: Instant) -> bool {
        self.health(origin).is_silent_since(started) && self.bad(origin, Fault::Outrun, now)
    }

    /// True if the origin changed from up to down or back.
    pub(super) fn checked(&mut self, origin: OriginId, seen: Result<(), Fault>, now: Instant) -> bool {
        let rules = self.rules;
        let change = self.member(origin).and_then(|(_, health)| health.checked(seen, now, &rules));
        self.changed(origin, change);
        change.is_some()
    }

    /// Takes an origin out or back in; true if that is a change.
    pub(super) fn drain(&mut self, origin: OriginId, drained: bool, now: Instant) -> bool {
        let changed = self.member(origin).is_some_and(|(_, health)| health.drain(drained, now));
        if changed {
            info!(group = %self.group, origin = %self.name(origin), drained, "an origin is drained or no longer so");
            match (&self.voice, drained) {
                (Some(voice), true) => voice.down(&self.name(origin), Fault::Drained.to_string()),
                (Some(voice), false) => voice.up(&self.name(origin), "no longer drained"),
                (None, _) => {}
            }
        }
        changed
    }

    pub(super) fn stalled(&mut self, origin: OriginId, channel: &Arc<str>, stall: Stall, now: Instant) -> bool {
        let Some(&(preferred, _)) = self.members.first() else { return false };
        if self.members.iter().all(|(id, _)| *id != origin) {
            return false;
        }
        let news = self.latches.stalled(channel, origin, stall, preferred, now);
        if news {
            warn!(group = %self.group, origin = %self.name(origin), %channel, reason = %stall, "an origin stalls");
        }
        news
    }

    pub(super) fn advancing(&mut self, origin: OriginId, channel: &str, now: Instant) {
        if self.latches.advancing(channel, origin, now) {
            info!(group = %self.group, origin = %self.name(origin), channel, "an origin advances again");
        }
    }

    pub(super) fn stalls(&self) -> Vec<(OriginId, Arc<str>, Stall)> {
        self.latches.stalls().map(|(channel, origin, stall)| (origin, Arc::clone(channel), stall)).collect()
    }

    pub(super) fn sweep(&mut self, now: Instant) {
        let ids: Vec<_> = self.members.iter().map(|(id, _)| *id).collect();
        self.latches.sweep(&ids, now, &self.rules);
    }

    pub(super) fn health(&self, origin: OriginId) -> Health {
        self.members.iter().find(|(id, _)| *id == origin).map(|(_, health)| *health).unwrap_or_default()
    }

    pub(super) fn switches(&self) -> u64 {
        self.switches
    }

    pub(super) fn channels_on(&self, origin: OriginId) -> usize {
        self.latches.on(origin)
    }

    fn member(&mut self, origin: OriginId) -> Option<&mut (OriginId, Health)> {
        self.members.iter_mut().find(|(id, _)| *id == origin)
    }

    fn name(&self, origin: OriginId) -> Arc<str> {
        let known = self.names.iter().find(|(id, _)| *id == origin);
        known.map_or_else(|| Arc::from("gone"), |(_, name)| Arc::clone(name))
    }

    fn changed(&self, origin: OriginId, change: Option<Change>) {
        match change {
            Some(Change::Down(fault)) => {
                warn!(group = %self.group, origin = %self.name(origin), reason = %fault, "an origin is down");
                if let Some(voice) = &self.voice {
                    voice.down(&self.name(origin), fault.to_string());
                }
            }
            Some(Change::Up) => {
                info!(group = %self.group, origin = %self.name(origin), "an origin is up again");
                if let Some(voice) = &self.voice {
                    voice.up(&self.name(origin), "it answers again");
                }
            }
            None => {}
        }
    }

    fn tell(&self, switch: &Switch) {
        let channel = if switch.channel.is_empty() { "(none)" } else { &*switch.channel };
        let (from, to) = (self.name(switch.from), self.name(switch.to));
        warn!(group = %self.group, channel, %from, %to, reason = %switch.why, "a channel is played from another origin");
        if let Some(voice) = &self.voice {
            voice.switched(&switch.channel, &from, &to, switch.why.to_string());
        }
    }
}
