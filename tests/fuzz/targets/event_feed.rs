// SPDX-License-Identifier: Apache-2.0
//! A feed of events from a server that sends anything: it is read alike however it is cut, and its events are read or
//! refused.
#![no_main]

use headwater_events::Event;
use headwater_events::feed::wire::{Block, Reader};

libfuzzer_sys::fuzz_target!(|input: (u8, &[u8])| {
    let (cut, data) = input;
    let whole = Reader::default().push(data);
    let mut reader = Reader::default();
    let pieces: Vec<Block> = data.chunks(usize::from(cut) + 1).flat_map(|piece| reader.push(piece)).collect();
    assert_eq!(whole, pieces);
    for block in whole {
        if let Block::Event { data, .. } = block
            && let Ok(event) = Event::from_json(&data)
        {
            let again = Event::from_json(event.to_json().as_bytes()).expect("what is written is read");
            assert_eq!(event, again);
        }
    }
});
