// SPDX-License-Identifier: Apache-2.0
//! Events are acted on: what became ready is there before an edge asks, and a feed that loses, repeats, delays or invents
//! costs hits at the most.

use std::time::Duration;

use headwater_events::Data;
use headwater_events::event::{PartReady, SegmentReady, Timestamp};
use headwater_media::UtcTime;

use crate::here::{Here, answer, settled};

const KEPT: [(&str, &str); 1] = [("cache-control", "max-age=60")];

/// The path of a part of the one track that is played.
fn part_path(sequence: u64, part: u32) -> String {
    format!("/live/news/v0/{sequence}.{part}.m4s")
}

fn digest(bytes: &str) -> String {
    format!("{:032x}", headwater_net::tag::digest(bytes.as_bytes()))
}

/// A part is there; its bytes are its path.
fn part(sequence: u64, part: u32) -> Data {
    let path = part_path(sequence, part);
    Data::PartReady(PartReady {
        channel: "news".to_owned(),
        track: "v0".to_owned(),
        generation: 0,
        sequence,
        part,
        start: now(),
        duration_ns: 200_000_000,
        bytes: path.len() as u64,
        digest: digest(&path),
        independent: part == 0,
        defects: Vec::new(),
        path,
    })
}

fn now() -> Timestamp {
    Timestamp(UtcTime::from_nanos(1_790_000_000_000_000_000))
}

impl Here {
    /// The origin in this process tells something.
    async fn tell(&self, data: Data) {
        self.publisher.publish(now().0, data);
        settled().await;
    }

    /// An origin that has every object of the stream, under bytes that are its path.
    fn streaming(more: &str) -> Self {
        Self::with(more, "", |seen| async move { answer(200, &KEPT, seen.target) })
    }
}

#[tokio::test(start_paused = true)]
async fn what_became_ready_is_there_before_an_edge_asks() {
    let here = Here::streaming("");
    here.get(&part_path(1, 0)).await;
    here.tell(part(1, 1)).await;
    assert_eq!(here.count(&part_path(1, 1)), 1, "fetched by the event");
    let got = here.get(&part_path(1, 1)).await;
    assert!(got.cache_status().contains("hit"), "{}", got.cache_status());
    assert_eq!((got.text(), here.count(&part_path(1, 1))), (&*part_path(1, 1), 1));
}
