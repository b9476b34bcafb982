// SPDX-License-Identifier: Apache-2.0
//! Pushed MPDs, and the names that their templates give.
#![no_main]

use headwater_manifests::dash::read::{self, Template};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(mpd) = read::parse(data) else { return };
    for representation in mpd.periods.iter().flat_map(|period| &period.representations).take(16) {
        let Some(template) = &representation.template else { continue };
        for text in template.media.iter().chain(&template.initialization) {
            let name = Template::expand(text, representation, u64::MAX, u64::MAX);
            assert!(name.len() <= (text.len() + 1) * (representation.id.len() + 24), "{name:?}");
        }
    }
});
