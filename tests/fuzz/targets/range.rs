// SPDX-License-Identifier: Apache-2.0
//! Range headers: a part that is granted lies within the body.
#![no_main]

use headwater_net::range::{Asked, parse};
use http::HeaderValue;

libfuzzer_sys::fuzz_target!(|input: (u64, &[u8])| {
    let (length_bytes, text) = input;
    for text in [text.to_vec(), [b"bytes=", text].concat()] {
        let Ok(value) = HeaderValue::from_bytes(&text) else { continue };
        if let Asked::Part { first, last } = parse(Some(&value), length_bytes) {
            assert!(first <= last && last < length_bytes, "{first}-{last} of {length_bytes}");
        }
    }
});
