// SPDX-License-Identifier: Apache-2.0
//! Playlists and MPDs that pass through the shield, and the names of what they list.
#![no_main]

use headwater_media::UtcTime;
use headwater_shield::live::{Position, Step, behind, expected, scan};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some(progress) = scan(data) else { return };
    assert_eq!(progress.against(&progress), Step::Same);
    if let Position::Hls(at) = progress.position {
        assert!(at.first <= at.next);
    }
    // Any text of it may be asked for.
    let text = String::from_utf8_lossy(data);
    for path in text.lines().take(64) {
        for now in [UtcTime::from_nanos(0), UtcTime::from_nanos(i64::MAX)] {
            let path = format!("/{path}");
            let _ = (expected(&path, &progress, now), behind(&path, &progress, now));
        }
    }
});
