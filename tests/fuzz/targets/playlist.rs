// SPDX-License-Identifier: Apache-2.0
//! Pushed playlists.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = headwater_manifests::hls::read::parse(data);
});
