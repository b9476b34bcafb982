// SPDX-License-Identifier: Apache-2.0
//! When a blocked reload is answered, and when it is refused.

mod common;

use common::{FIRST, gap, half, open, segment, window};
use headwater_manifests::hls::media::{Position, TooFar};
use headwater_media::{MediaDuration, PartIndex, Segment, SegmentNumber, Window};

fn at(segment: u64, part: Option<u32>) -> Position {
    Position { segment: SegmentNumber(segment), part: part.map(PartIndex) }
}

fn reached(window: &Window, segment: u64, part: Option<u32>) -> bool {
    at(segment, part).is_reached(window)
}

#[test]
fn a_segment_is_reached_when_it_is_whole() {
    let window = window([segment(FIRST)], Some(open(FIRST + 1, 4)));
    assert!(reached(&window, FIRST, None));
    assert!(!reached(&window, FIRST + 1, None));
}

#[test]
fn a_part_is_reached_when_it_or_anything_later_is_there() {
    let window = window([segment(FIRST)], Some(open(FIRST + 1, 2)));
    assert!(reached(&window, FIRST + 1, Some(0)) && reached(&window, FIRST + 1, Some(1)));
    assert!(!reached(&window, FIRST + 1, Some(2)));
    assert!(!reached(&window, FIRST + 2, Some(0)));
}

#[test]
fn a_part_past_the_last_of_a_finished_segment_is_the_first_of_the_next() {
    let finished = window([segment(FIRST)], None);
    assert!(reached(&finished, FIRST, Some(3)));
    assert!(!reached(&finished, FIRST, Some(4)));
    let begun = window([segment(FIRST)], Some(open(FIRST + 1, 1)));
    assert!(reached(&begun, FIRST, Some(4)));
}

#[test]
fn an_expired_position_is_answered_at_once() {
    let window = window([segment(FIRST)], Some(open(FIRST + 1, 1)));
    assert!(reached(&window, 0, None) && reached(&window, 3, Some(7)));
}

#[test]
fn a_part_of_a_segment_without_parts_does_not_wait_for_the_next() {
    let whole = Segment { parts: Vec::new(), ..segment(FIRST) };
    assert!(reached(&window([whole], None), FIRST, Some(0)));
    assert!(reached(&window([gap(FIRST)], None), FIRST, Some(2)));
}

#[test]
fn nothing_is_reached_before_anything_is_listed() {
    assert!(!reached(&Window::new(), 0, None));
    assert_eq!(at(FIRST, None).check(&Window::new(), Some(half()), false), Ok(()));
}

#[test]
fn reload_past_the_edge_plus_two_is_refused() {
    let window = window([segment(FIRST)], Some(open(FIRST + 1, 1)));
    assert_eq!(at(FIRST + 3, None).check(&window, Some(half()), false), Ok(()));
    let (last, asked) = (SegmentNumber(FIRST + 1), SegmentNumber(FIRST + 4));
    assert_eq!(at(FIRST + 4, None).check(&window, Some(half()), false), Err(TooFar::Segment { last, asked }));
    assert_eq!(at(u64::MAX, None).check(&window, Some(half()), true), Ok(()));
    assert_eq!(TooFar::Segment { last, asked }.status(), 400);
}

#[test]
fn parts_past_the_advance_limit_are_refused() {
    let window = window([segment(FIRST)], Some(open(FIRST + 1, 2)));
    let check = |part, part_target| at(FIRST + 1, Some(part)).check(&window, Some(part_target), false);
    // Six parts of half a second, counted from the newest, number 1.
    assert_eq!(check(7, half()), Ok(()));
    assert_eq!(check(8, half()), Err(TooFar::Part { limit: 6, ahead: 7 }));
    let second = MediaDuration::from_millis(1_000);
    assert_eq!(check(4, second), Ok(()));
    assert_eq!(check(5, second), Err(TooFar::Part { limit: 3, ahead: 4 }));
    let odd = MediaDuration::from_millis(334);
    assert_eq!(check(10, odd), Ok(()));
    assert_eq!(check(11, odd), Err(TooFar::Part { limit: 9, ahead: 10 }));
    assert_eq!(at(FIRST, Some(4_000)).check(&window, Some(half()), false), Ok(()));
    assert_eq!(at(FIRST + 1, Some(4_000)).check(&window, None, false), Ok(()));
    assert!(at(FIRST + 2, Some(u32::MAX)).check(&window, Some(half()), false).is_err());
}
