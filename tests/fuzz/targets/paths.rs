// SPDX-License-Identifier: Apache-2.0
//! Paths that encoders push to and viewers fetch: a name that is taken is a name that is bounded and clean.
#![no_main]

use headwater_media::TrackId;
use headwater_media::path::LivePath;
use headwater_origin::ingest::names::Target;

libfuzzer_sys::fuzz_target!(|path: &str| {
    if let Ok(Target::Stream { name, .. }) = Target::parse(path) {
        assert!(TrackId::new(&name).is_ok(), "{name:?}");
        assert!(TrackId::new(&format!("{name}-metadata2")).is_ok(), "{name:?}");
    }
    let _ = LivePath::parse(path);
    let prefixed = format!("/live/{path}");
    if let Some(live) = LivePath::parse(&prefixed) {
        assert!(live.object.track().is_none_or(|track| TrackId::new(track).is_ok()), "{path:?}");
    }
});
