// SPDX-License-Identifier: Apache-2.0
//! A file of the log of events: whatever lies in it, reading comes to its end, and what is written behind it is found.
#![no_main]

use headwater_events::event::Kind;
use headwater_events::log::record::{Next, encode, next};
use headwater_events::log::{Entry, Offset};
use headwater_media::UtcTime;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let json = data.iter().map(|byte| char::from(byte & 0x7f)).collect::<String>();
    let entry = Entry { kind: Kind::Marker, channel: None, key: "news".into(), json: json.into() };
    let mut bytes = data.to_vec();
    encode(&entry, Offset(u64::MAX), UtcTime::from_nanos(i64::MIN), &mut bytes);
    let mut at = 0;
    let mut last = None;
    while at < bytes.len() {
        at += match next(&bytes[at..]) {
            Next::Record(raw, length) => {
                assert!(length > raw.json.len() && at + length <= bytes.len());
                last = Some(raw);
                length
            }
            // Nothing follows that would make it whole.
            Next::Partial => 1,
            Next::Damage(skip) => {
                assert!(skip > 0 && at + skip <= bytes.len());
                skip
            }
        };
    }
    let last = last.expect("the record behind is found");
    assert_eq!((last.offset, last.kind, last.json), (Offset(u64::MAX), Kind::Marker, &entry.json[..]));
});
