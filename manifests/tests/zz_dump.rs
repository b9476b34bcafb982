//! Temporary.
mod common;
use common::*;
use std::sync::Arc;
use headwater_manifests::dash::mpd::{self, *};
use headwater_manifests::dash::patch;
use headwater_media::*;
#[test]
fn dump() {
    let l = ladder();
    let grid = Grid::new(two()).unwrap(); let t = targets();
    let gens: Vec<_> = l.tracks().iter().map(|t| (t.id.clone(), Generation(0))).collect();
    let periods = [Period{id:"p0".into(), first: SegmentNumber(0), generations: gens.clone()}, Period{id:"p1".into(), first: SegmentNumber(FIRST+3), generations: gens}];
    for (name, w, state) in [("live", window([segment(FIRST), gap(FIRST+1), segment(FIRST+2), segment(FIRST+3)], None), State::Live), ("ended", window((FIRST..FIRST+6).map(segment), None), State::Ended{end: MediaTime::new(1_700_000_012, scale(1))})] {
        let windows: Vec<(TrackId,&Window)> = l.tracks().iter().map(|t| (t.id.clone(), &w)).collect();
        let input = Input{id:"demo",ladder:&l,grid:&grid,targets:&t,periods:&periods,windows:&windows,part_target:half(),time_shift_buffer:MediaDuration::from_millis(60_000),publish_time:UtcTime::from_nanos(1_700_000_008_500_000_000),state,latency:Latency{target_ms:3000,min_ms:1500,max_ms:6000},utc_timing_url:"/time",patch_ttl:Some(std::time::Duration::from_secs(60))};
        std::fs::write(format!("/tmp/schema/{name}-number.mpd"), mpd::render_number(&input)).unwrap();
        std::fs::write(format!("/tmp/schema/{name}-timeline.mpd"), mpd::render_timeline(&input)).unwrap();
    }
    let big = window((FIRST..FIRST+10_800).map(segment), Some(open(FIRST+10_800, 2)));
    let t2 = targets(); let reports=[];
    let inp = input(&big, &t2, &reports);
    use headwater_manifests::hls::media::*;
    for skip in [Skip::None, Skip::V1] { let s = std::time::Instant::now(); for _ in 0..10 { std::hint::black_box(render(&inp, skip)); } println!("{skip:?} {:?} {}", s.elapsed()/10, render(&inp, skip).len()); }
    let windows: Vec<(TrackId,&Window)> = l.tracks().iter().map(|t| (t.id.clone(), &big)).collect();
    let input = Input{id:"demo",ladder:&l,grid:&grid,targets:&t,periods:&periods[..1],windows:&windows,part_target:half(),time_shift_buffer:MediaDuration::from_millis(60_000),publish_time:UtcTime::from_nanos(1_700_000_008_500_000_000),state:State::Live,latency:Latency{target_ms:3000,min_ms:1500,max_ms:6000},utc_timing_url:"/time",patch_ttl:Some(std::time::Duration::from_secs(60))};
    let s = std::time::Instant::now(); let a = mpd::timeline(&input); println!("timeline {:?}", s.elapsed());
    let s = std::time::Instant::now(); let _ = mpd::number(&input).render(); println!("number {:?}", s.elapsed());
    let s = std::time::Instant::now(); let _ = patch::between(&a,&a); println!("patch {:?}", s.elapsed());
    let _ = Arc::new(1);
}
