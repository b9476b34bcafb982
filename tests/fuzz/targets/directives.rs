// SPDX-License-Identifier: Apache-2.0
//! Query strings of playlists.
#![no_main]

use headwater_manifests::hls::directives::Directives;

libfuzzer_sys::fuzz_target!(|query: &str| {
    let _ = Directives::parse(query);
});
