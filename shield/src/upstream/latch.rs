// SPDX-License-Identifier: Apache-2.0
//! Which origin a channel is played from. A channel keeps to its origin: viewers notice a switch where the origins are
//! not twins to the byte, so there is one when the origin is down or its playlist stands still, and one back, later.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::OriginId;
use super::health::{Fault, Health, Rules};

/// What is wrong with an origin's playlist of a channel, though it is answered with 200.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stall {
    /// It does not advance.
    StandsStill,
    /// It tells of less than it has told before.
    WentBack,
    /// The origin says itself that it is stale.
    MarkedStale,
    /// The origin has published that it brings nothing.
    Published,
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StandsStill => "its playlist stands still",
            Self::WentBack => "its playlist went back",
            Self::MarkedStale => "its playlist is marked stale",
            Self::Published => "it tells that nothing comes",
        })
    }
}

/// Why a channel was switched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The origin in use is down.
    Down(Fault),
    /// The origin in use stalls for this channel.
    Stalled(Stall),
    /// The origin in use is no longer one of the group.
    Gone,
    /// The preferred origin has been good for long enough.
    Failback,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down(fault) => write!(f, "the origin in use is down: {fault}"),
            Self::Stalled(stall) => write!(f, "the origin in use stalls: {stall}"),
            Self::Gone => write!(f, "the origin in use was taken out of the configuration"),
            Self::Failback => write!(f, "the preferred origin is good again"),
        }
    }
}

/// A channel went from one origin to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switch {
    /// The channel; empty for what belongs to none.
    pub channel: Arc<str>,
    /// Whence.
    pub from: OriginId,
    /// Whither.
    pub to: OriginId,
    /// The reason.
    pub why: Why,
}

#[derive(Clone, Debug)]
struct Latch {
    current: OriginId,
    switched: Option<Instant>,
    seen: Instant,
    stalls: Vec<(OriginId, Stall, Instant)>,
    recovered: Vec<(OriginId, Instant)>,
}

/// What is known of the channels. One that plays from the preferred origin and has no stall takes no room here, so what
/// an outsider invents is remembered only while the preferred origin is down, and bounded then too.
#[derive(Clone, Debug)]
pub struct Latches {
    channels: HashMap<Arc<str>, Latch>,
    channels_max: usize,
}

/// A stall that nobody confirms is forgotten after so many hold-downs, so that an origin which nobody asks any more is
/// tried again one day.
const STALL_HOLD_DOWNS: u32 = 6;

impl Latches {
    /// Remembers at most `channels_max`; the longest unseen are forgotten.
    pub fn new(channels_max: usize) -> Self {
        Self { channels: HashMap::new(), channels_max }
    }

    /// The order in which `members` are asked for something of `channel`, and the switch that this made.
    ///
    /// Origins that are down or stalled come last but are never left out. A channel goes to another origin at once when
    /// its own is down or stalls; it goes back to a preferred one only at a `boundary` (a new segment), after the
    /// hold-down, and once that one has proven itself.
    pub fn order(
        &mut self,
        channel: &Arc<str>,
        boundary: bool,
        members: &[(OriginId, Health)],
        now: Instant,
        rules: &Rules,
    ) -> (Vec<OriginId>, Option<Switch>) {
        let Some(&(preferred, _)) = members.first() else { return (Vec::new(), None) };
        let known = self.channels.get_mut(channel);
        let (current, latch) = match known {
            Some(latch) => {
                latch.seen = now;
                latch.forget_old_stalls(now, rules);
                (latch.current, Some(&*latch))
            }
            None => (preferred, None),
        };
        let class = |member: &(OriginId, Health)| -> u8 {
            if !member.1.is_up(now, rules) {
                2
            } else {
                u8::from(latch.is_some_and(|latch| latch.stall(member.0).is_some()))
            }
        };
        let target = target(current, latch, members, boundary, now, rules);
        let current = target.map_or(current, |(to, _)| to);
        let mut order: Vec<_> = members.iter().enumerate().collect();
        order.sort_by_key(|(index, member)| (class(member), member.0 != current, *index));
        let order = order.into_iter().map(|(_, member)| member.0).collect();
        let switch = target.map(|(to, why)| {
            let latch = self.entry(channel, preferred, now);
            let from = std::mem::replace(&mut latch.current, to);
            latch.switched = Some(now);
            Switch { channel: Arc::clone(channel), from, to, why }
        });
        (order, switch)
    }

    /// `origin` stalls for `channel`, which plays from `preferred` if nothing else is known. True if that is news.
    pub fn stalled(
        &mut self,
        channel: &Arc<str>,
        origin: OriginId,
        stall: Stall,
        preferred: OriginId,
        now: Instant,
    ) -> bool {
        let latch = self.entry(channel, preferred, now);
        latch.recovered.retain(|(id, _)| *id != origin);
        let known = latch.stall(origin).is_some();
        latch.stalls.retain(|(id, ..)| *id != origin);
        latch.stalls.push((origin, stall, now));
        !known
    }

    /// `origin` advances `channel`. True if it had stalled.
    pub fn advancing(&mut self, channel: &str, origin: OriginId, now: Instant) -> bool {
        let Some(latch) = self.channels.get_mut(channel) else { return false };
        let known = latch.stalls.len();
        latch.stalls.retain(|(id, ..)| *id != origin);
        let recovered = latch.stalls.len() < known;
        if recovered {
            latch.recovered.push((origin, now));
        }
        recovered
    }

    /// How `origin` stalls for `channel`, if it does.
    pub fn stall(&self, channel: &str, origin: OriginId) -> Option<Stall> {
        self.channels.get(channel)?.stall(origin)
    }

    /// What stalls: channel, origin, and how.
    pub fn stalls(&self) -> impl Iterator<Item = (&Arc<str>, OriginId, Stall)> {
        self.channels
            .iter()
            .flat_map(|(channel, latch)| latch.stalls.iter().map(move |(id, stall, _)| (channel, *id, *stall)))
    }

    /// Channels that play from `origin` and are remembered.
    pub fn on(&self, origin: OriginId) -> usize {
        self.channels.values().filter(|latch| latch.current == origin).count()
    }

    /// Forgets channels of which nothing is left to know, and origins that are gone.
    pub fn sweep(&mut self, members: &[OriginId], now: Instant, rules: &Rules) {
        let preferred = members.first().copied();
        self.channels.retain(|_, latch| {
            latch.stalls.retain(|(id, ..)| members.contains(id));
            latch.forget_old_stalls(now, rules);
            let proof = proof(rules);
            latch.recovered.retain(|(id, since)| members.contains(id) && now.saturating_duration_since(*since) < proof);
            let held = latch.switched.is_some_and(|at| now.saturating_duration_since(at) < rules.hold_down);
            held || !latch.stalls.is_empty() || !latch.recovered.is_empty() || Some(latch.current) != preferred
        });
    }

    fn entry(&mut self, channel: &Arc<str>, preferred: OriginId, now: Instant) -> &mut Latch {
        if self.channels.len() >= self.channels_max && !self.channels.contains_key(channel) {
            self.forget_half();
        }
        self.channels.entry(Arc::clone(channel)).or_insert_with(|| Latch {
            current: preferred,
            switched: None,
            seen: now,
            stalls: Vec::new(),
            recovered: Vec::new(),
        })
    }

    /// Half at once, so that a flood of names costs a look at each entry per half table, not per name.
    fn forget_half(&mut self) {
        let mut seen: Vec<Instant> = self.channels.values().map(|latch| latch.seen).collect();
        seen.sort_unstable();
        let Some(&middle) = seen.get(seen.len() / 2) else { return };
        let before = self.channels.len();
        self.channels.retain(|_, latch| latch.seen > middle);
        if self.channels.len() == before {
            self.channels.clear();
        }
    }
}

impl Latch {
    fn stall(&self, origin: OriginId) -> Option<Stall> {
        self.stalls.iter().find(|(id, ..)| *id == origin).map(|(_, stall, _)| *stall)
    }

    fn forget_old_stalls(&mut self, now: Instant, rules: &Rules) {
        let kept = rules.hold_down * STALL_HOLD_DOWNS;
        self.stalls.retain(|(.., told)| now.saturating_duration_since(*told) < kept);
    }

    /// `origin` has advanced for long enough since it last stalled.
    fn is_proven(&self, origin: OriginId, now: Instant, rules: &Rules) -> bool {
        let recovered = self.recovered.iter().find(|(id, _)| *id == origin);
        recovered.is_none_or(|(_, since)| now.saturating_duration_since(*since) >= proof(rules))
    }
}

/// How long an origin that had stalled must advance before a channel goes back to it.
fn proof(rules: &Rules) -> Duration {
    rules.interval.unwrap_or(Duration::from_secs(1)) * rules.failback_checks
}

fn target(
    current: OriginId,
    latch: Option<&Latch>,
    members: &[(OriginId, Health)],
    boundary: bool,
    now: Instant,
    rules: &Rules,
) -> Option<(OriginId, Why)> {
    let stall = |id: OriginId| latch.and_then(|latch| latch.stall(id));
    let usable = |(id, health): &(OriginId, Health)| health.is_up(now, rules) && stall(*id).is_none();
    let Some(index) = members.iter().position(|(id, _)| *id == current) else {
        let to = members.iter().find(|member| usable(member)).or(members.first())?;
        return Some((to.0, Why::Gone));
    };
    let (id, health) = &members[index];
    if !usable(&members[index]) {
        let to = members.iter().find(|member| usable(member))?;
        let down = || health.down().map_or(Why::Gone, |(_, fault)| Why::Down(fault));
        let why = if health.is_up(now, rules) { stall(*id).map_or_else(down, Why::Stalled) } else { down() };
        return Some((to.0, why));
    }
    let latch = latch?;
    let held = latch.switched.is_some_and(|at| now.saturating_duration_since(at) < rules.hold_down);
    if !boundary || held {
        return None;
    }
    let proven = |(id, health): &&(OriginId, Health)| {
        health.is_proven(now, rules) && stall(*id).is_none() && latch.is_proven(*id, now, rules)
    };
    members[..index].iter().find(proven).map(|(id, _)| (*id, Why::Failback))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: OriginId = OriginId(1);
    const B: OriginId = OriginId(2);
    const RULES: Rules = Rules {
        interval: Some(Duration::from_secs(1)),
        rise: 2,
        fall: 2,
        hold_down: Duration::from_secs(10),
        failback_checks: 5,
    };

    /// Two origins, a channel, and a clock that is turned by hand.
    struct Rig {
        a: Health,
        b: Health,
        latches: Latches,
        now: Instant,
        channel: Arc<str>,
    }

    impl Rig {
        fn new() -> Self {
            let (a, b) = (Health::default(), Health::default());
            Self { a, b, latches: Latches::new(100), now: Instant::now(), channel: Arc::from("news") }
        }

        fn ask(&mut self, boundary: bool) -> (Vec<OriginId>, Option<Why>) {
            let members = [(A, self.a), (B, self.b)];
            let (order, switch) = self.latches.order(&self.channel, boundary, &members, self.now, &RULES);
            (order, switch.map(|switch| switch.why))
        }

        fn after(&mut self, seconds: u64) -> &mut Self {
            self.now += Duration::from_secs(seconds);
            self
        }

        fn a_fails(&mut self) {
            for _ in 0..RULES.fall {
                self.a.bad(Fault::Late, self.now, &RULES);
            }
        }

        /// Good checks of A, one a second.
        fn a_is_checked(&mut self, times: u32) {
            for _ in 0..times {
                self.after(1);
                self.a.checked(Ok(()), self.now, &RULES);
            }
        }
    }

    #[test]
    fn a_channel_leaves_an_origin_that_is_down_and_stays_away() {
        let mut rig = Rig::new();
        assert_eq!(rig.ask(false), (vec![A, B], None));
        rig.a_fails();
        assert_eq!(rig.ask(false), (vec![B, A], Some(Why::Down(Fault::Late))));
        rig.a_is_checked(2);
        assert_eq!(rig.ask(true), (vec![B, A], None));
    }

    #[test]
    fn it_goes_back_at_a_boundary_after_the_hold_down_and_enough_good_checks() {
        let mut rig = Rig::new();
        rig.a_fails();
        rig.ask(false);
        rig.a_is_checked(9);
        assert_eq!(rig.ask(true).1, None, "the hold-down is not over");
        rig.a_is_checked(1);
        assert_eq!(rig.ask(false).1, None, "no segment begins");
        assert_eq!(rig.ask(true), (vec![A, B], Some(Why::Failback)));

        let mut rig = Rig::new();
        rig.a_fails();
        rig.ask(false);
        rig.after(30).a_is_checked(4);
        assert_eq!(rig.ask(true).1, None, "four good checks are not five");
        rig.a_is_checked(1);
        assert_eq!(rig.ask(true).1, Some(Why::Failback));
    }

    #[test]
    fn a_stall_moves_its_channel_and_no_other() {
        let mut rig = Rig::new();
        let other: Arc<str> = Arc::from("sport");
        rig.latches.stalled(&rig.channel, A, Stall::StandsStill, A, rig.now);
        assert_eq!(rig.ask(false), (vec![B, A], Some(Why::Stalled(Stall::StandsStill))));
        let members = [(A, rig.a), (B, rig.b)];
        let (order, switch) = rig.latches.order(&other, false, &members, rig.now, &RULES);
        assert_eq!((order, switch), (vec![A, B], None));
        rig.a_is_checked(20);
        assert_eq!(rig.ask(true).1, None, "its checks are good, its playlist is not");
        rig.latches.advancing("news", A, rig.now);
        rig.after(4);
        assert_eq!(rig.ask(true).1, None, "it has not advanced for long");
        rig.after(1);
        assert_eq!(rig.ask(true).1, Some(Why::Failback));
    }

    #[test]
    fn a_stall_that_nobody_confirms_is_forgotten() {
        let mut rig = Rig::new();
        rig.latches.stalled(&rig.channel, A, Stall::WentBack, A, rig.now);
        rig.ask(false);
        rig.a_is_checked(59);
        assert_eq!(rig.ask(true).1, None);
        rig.a_is_checked(1);
        assert_eq!(rig.ask(true).1, Some(Why::Failback));
    }

    #[test]
    fn when_nobody_is_usable_the_origin_in_use_is_asked_first_and_nothing_switches() {
        let mut rig = Rig::new();
        rig.a_fails();
        rig.ask(false);
        for _ in 0..2 {
            rig.b.bad(Fault::Connect, rig.now, &RULES);
        }
        assert_eq!(rig.ask(true), (vec![B, A], None));
    }

    #[test]
    fn an_origin_that_stalls_is_asked_before_one_that_is_down() {
        let mut rig = Rig::new();
        rig.latches.stalled(&rig.channel, B, Stall::StandsStill, A, rig.now);
        rig.a_fails();
        assert_eq!(rig.ask(false), (vec![B, A], None));
    }

    #[test]
    fn a_channel_whose_origin_is_taken_out_goes_to_one_that_is_there() {
        let mut rig = Rig::new();
        rig.a_fails();
        rig.ask(false);
        let members = [(A, Health::default())];
        let (order, switch) = rig.latches.order(&rig.channel, false, &members, rig.now, &RULES);
        assert_eq!((order, switch.map(|switch| switch.why)), (vec![A], Some(Why::Gone)));
    }

    #[test]
    fn names_that_anybody_invents_are_bounded_and_cost_nothing_while_all_is_well() {
        let mut rig = Rig::new();
        let ask = |rig: &mut Rig, number: u32| {
            let channel: Arc<str> = Arc::from(number.to_string());
            let members = [(A, rig.a), (B, rig.b)];
            rig.latches.order(&channel, true, &members, rig.now, &RULES);
        };
        (0..1_000).for_each(|number| ask(&mut rig, number));
        assert_eq!(rig.latches.channels.len(), 0);
        rig.a_fails();
        (0..1_000).for_each(|number| ask(&mut rig, number));
        assert!(rig.latches.channels.len() <= 100);
        rig.a_is_checked(20);
        (0..1_000).for_each(|number| ask(&mut rig, number));
        rig.after(11);
        rig.latches.sweep(&[A, B], rig.now, &RULES);
        assert_eq!(rig.latches.channels.len(), 0);
    }

    /// What may happen to the preferred origin in a second.
    #[derive(Clone, Copy, Debug)]
    enum Event {
        Good,
        Bad,
        Fails,
        Stalls,
        Advances,
    }

    proptest! {
        #[test]
        fn a_flapping_origin_is_gone_back_to_at_most_once_per_hold_down(
            events in prop::collection::vec(
                prop_oneof![
                    6 => Just(Event::Good),
                    1 => Just(Event::Bad),
                    1 => Just(Event::Fails),
                    1 => Just(Event::Stalls),
                    1 => Just(Event::Advances),
                ],
                1..400,
            )
        ) {
            let mut rig = Rig::new();
            let mut switches: Vec<(Instant, Why)> = Vec::new();
            for event in events {
                rig.after(1);
                let now = rig.now;
                match event {
                    Event::Good => { rig.a.checked(Ok(()), now, &RULES); }
                    Event::Bad => { rig.a.checked(Err(Fault::Check(500)), now, &RULES); }
                    Event::Fails => rig.a_fails(),
                    Event::Stalls => { rig.latches.stalled(&rig.channel, A, Stall::StandsStill, A, now); }
                    Event::Advances => { rig.latches.advancing("news", A, now); }
                }
                let (order, why) = rig.ask(true);
                prop_assert_eq!(order.len(), 2, "nobody is left out");
                if let Some(why) = why {
                    let back = why == Why::Failback;
                    let last = switches.last();
                    prop_assert_eq!(back, last.is_some_and(|(_, last)| *last != Why::Failback), "to and fro in turn");
                    if let Some((at, _)) = last.filter(|_| back) {
                        prop_assert!(now - *at >= RULES.hold_down, "back after {:?}", now - *at);
                    }
                    switches.push((now, why));
                }
                // Whoever is asked first is usable whenever anybody is, and B always is.
                let stalls = rig.latches.stall("news", A).is_some();
                prop_assert!(order[0] == B || (rig.a.is_up(now, &RULES) && !stalls));
            }
            let back: Vec<_> = switches.iter().filter(|(_, why)| *why == Why::Failback).collect();
            for pair in back.windows(2) {
                prop_assert!(pair[1].0 - pair[0].0 >= RULES.hold_down);
            }
        }
    }
}
