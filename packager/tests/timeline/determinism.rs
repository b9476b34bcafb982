// SPDX-License-Identifier: Apache-2.0
//! Output is a function of the samples: whoever has an object has the same bytes under the same name, whatever the
//! network did, whenever it joined, and however often it was restarted.

use std::sync::OnceLock;
use std::time::Duration;

use headwater_media::UtcTime;
use headwater_packager::timeline::Config;
use headwater_packager::timeline::assembler::Memory;
use proptest::prelude::*;

use crate::ladder::{Delivery, Network, Shape, Source, sample_ladder, send, send_on};
use crate::rig::Rig;

const EPOCH: UtcTime = UtcTime::from_nanos(0);

fn whole(sources: &[Source], zero: UtcTime, memory: Option<Memory>) -> Rig {
    let deliveries = Network::QUIET.deliver(sources, zero);
    let mut rig = Rig::with(Config::default(), memory, deliveries[0].at);
    send(&mut rig, sources, &deliveries);
    rig
}

/// Counts the objects both have; panics where they differ.
fn common(a: &Rig, b: &Rig) -> usize {
    let mut count = 0;
    for (name, theirs) in &b.chunks {
        let Some(ours) = a.chunks.get(name) else { continue };
        assert_eq!(ours.generation, theirs.generation, "{name:?}");
        assert_eq!(ours.cut.samples.len(), theirs.cut.samples.len(), "{name:?}");
        assert!(ours.bytes == theirs.bytes, "{name:?}");
        count += 1;
    }
    // A segment whole on both has the same parts on both.
    for ended in a.ends.keys().filter(|name| b.ends.contains_key(*name)) {
        let parts = |rig: &Rig| rig.parts(&ended.0).iter().filter(|p| p.number == ended.1).count();
        assert_eq!(parts(a), parts(b), "{ended:?}");
    }
    assert_eq!(a.grid(), b.grid());
    count
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn network() -> impl Strategy<Value = Network> {
    (any::<u64>(), 1_u64..70, 0_u64..1_500, any::<bool>()).prop_map(|(seed, fragment_max, delay_ms, bodies)| Network {
        seed,
        fragment_max,
        delay_ms,
        bodies,
    })
}

/// Sends what arrives after `join`; at each of `restarts` the origin is gone for a moment and comes back with what it
/// remembers, and encoders that send a body at a time send again what they sent lately.
fn varied(
    sources: &[Source],
    zero: UtcTime,
    memory: Option<&Memory>,
    network: Network,
    join: u64,
    restarts: &[u64],
) -> Vec<Rig> {
    let deliveries = network.deliver(sources, zero);
    let begin = deliveries[0].at;
    let joined = begin + Duration::from_millis(join);
    let mut rest: Vec<Delivery> = deliveries.into_iter().filter(|d| d.captured >= joined).collect();
    let mut memory = memory.cloned();
    let mut rigs = Vec::new();
    for restart in restarts.iter().copied().chain([u64::MAX / 2_000_000]) {
        let until = begin + Duration::from_millis(restart);
        let (now, later): (Vec<_>, Vec<_>) = rest.into_iter().partition(|d| d.at < until);
        let back = until + Duration::from_millis(300);
        let again = now.iter().filter(|d| network.bodies && d.captured + Duration::from_secs(4) > until).cloned();
        rest = again.chain(later).map(|d| Delivery { at: d.at.max(back), ..d }).collect();
        let Some(first) = now.first() else { continue };
        let mut rig = Rig::with(Config::default(), memory.take(), first.at);
        send_on(&mut rig, sources, &now);
        memory = rig.assembler.memory();
        rigs.push(rig);
    }
    rigs
}

fn check(
    sources: &[Source],
    reference: &Rig,
    zero: UtcTime,
    memory: Option<&Memory>,
    network: Network,
    join: u64,
    restarts: &[u64],
) {
    let mut rigs = varied(sources, zero, memory, network, join, restarts);
    // Killed within its first GOPs it may have published by a guess, which it withdraws once it is back.
    rigs.retain(|rig| rig.assembler.memory().is_some_and(|memory| memory.confirmed));
    let counts: Vec<usize> = rigs.iter().map(|rig| common(reference, rig)).collect();
    assert!(rigs.iter().all(|r| r.breaks.is_empty()), "no discontinuity");
    let names: usize = rigs.iter().map(|r| r.chunks.len()).sum();
    assert_eq!(counts.iter().sum::<usize>(), names, "every object is one the other has too");
    let last = counts.last().copied().unwrap_or(0);
    assert!(last > 0 || join > 15_000 || !restarts.is_empty(), "{counts:?}");
}

fn cached(shape: Shape) -> (Vec<Source>, Rig) {
    let sources = shape.sources();
    let rig = whole(&sources, EPOCH, None);
    (sources, rig)
}

macro_rules! origins_agree_on {
    ($($name:ident: $shape:expr, $cases:expr;)*) => { $(
        proptest! {
            #![proptest_config(cases($cases))]
            #[test]
            fn $name(network in network(), join in 0_u64..12_000, restart in 5_000_u64..20_000) {
                static REFERENCE: OnceLock<(Vec<Source>, Rig)> = OnceLock::new();
                let (sources, reference) = REFERENCE.get_or_init(|| cached($shape));
                prop_assert!(reference.chunks.len() > 300);
                check(sources, reference, EPOCH, None, network, join, &[]);
                check(sources, reference, EPOCH, None, network, 0, &[restart]);
            }
        }
    )* };
}

origins_agree_on! {
    a_plain_ladder: Shape::PLAIN, 48;
    two_gops_a_segment: Shape { gop: 25, ..Shape::PLAIN }, 32;
    a_ladder_of_1_92_s: Shape { rate: (50, 1), gop: 96, timescale: 90_000, ..Shape::PLAIN }, 24;
    a_ladder_of_1001_rates: Shape { rate: (30_000, 1_001), gop: 60, timescale: 30_000, ..Shape::PLAIN }, 32;
    a_ladder_of_rounded_times: Shape { rate: (30, 1), gop: 60, timescale: 10_000_000, ..Shape::PLAIN }, 24;
    a_ladder_of_rounded_1001_rates: Shape { rate: (60_000, 1_001), gop: 120, timescale: 90_000, ..Shape::PLAIN }, 24;
    sound_of_44100_hz: Shape { sound_hz: 44_100, ..Shape::PLAIN }, 32;
}

proptest! {
    #![proptest_config(cases(12))]
    #[test]
    fn the_sample_ladder(network in network(), join in 0_u64..8_000, restart in 5_000_u64..12_000) {
        static REFERENCE: OnceLock<(Vec<Source>, Rig)> = OnceLock::new();
        let (sources, reference) = REFERENCE.get_or_init(|| {
            let sources = sample_ladder(2);
            let rig = whole(&sources, EPOCH, None);
            (sources, rig)
        });
        prop_assert!(reference.chunks.len() > 200);
        check(sources, reference, EPOCH, None, network, join, &[]);
        check(sources, reference, EPOCH, None, network, 0, &[restart]);
    }

    #[test]
    fn sources_from_zero_that_share_a_memory(network in network(), join in 0_u64..12_000, restart in 5_000_u64..20_000) {
        static REFERENCE: OnceLock<(Vec<Source>, Rig, Memory)> = OnceLock::new();
        let zero = UtcTime::from_nanos(1_700_000_003_456_789_012);
        let (sources, reference, memory) = REFERENCE.get_or_init(|| {
            let sources = Shape { from_seconds: 0, ..Shape::PLAIN }.sources();
            let first = whole(&sources, zero, None);
            let memory = Memory { last: None, ..first.assembler.memory().expect("the grid is known") };
            let rig = whole(&sources, zero, Some(memory.clone()));
            assert_eq!(common(&first, &rig), rig.chunks.len());
            (sources, rig, memory)
        });
        check(sources, reference, zero, Some(memory), network, join, &[]);
        check(sources, reference, zero, Some(memory), network, 0, &[restart, restart + 2_500]);
    }
}
