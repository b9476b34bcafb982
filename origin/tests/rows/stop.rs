// SPDX-License-Identifier: Apache-2.0
//! The stop: nothing new is begun, what is begun is finished, whoever waits for more is sent on.

use http::{Method, StatusCode};

use crate::encoder::{Encoder, Source, at};
use crate::stage::{Stage, request, settle};

#[tokio::test(start_paused = true)]
async fn segments_in_progress_are_finished_and_none_is_begun() {
    let stage = Stage::new();
    let mut encoder = Encoder::of(&stage, vec![Source::video("v0"), Source::audio("a0")]);
    encoder.until(at(9_100)).await;
    let (segment, part) = stage.media("v0").await.newest();
    let readers = ["v0", "a0"].map(|track| stage.park(&format!("{track}/{segment}.m4s")));
    let reload = stage.park(&format!("v0/media.m3u8?_HLS_msn={}&_HLS_part=0", segment + 1));
    settle().await;
    stage.begin_stop();
    settle().await;
    let sent_on = reload.answer().await;
    assert_eq!((sent_on.status, sent_on.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "1"));
    let early = stage.get(&format!("v0/media.m3u8?_HLS_msn={segment}&_HLS_part={part}")).await;
    assert_eq!(early.status, StatusCode::OK, "what is here is served");
    assert_eq!(stage.get("/readyz").await.text(), "stopping\n");
    let refused = stage.ask(request(Method::PUT, "/ingest/news/v1.cmfv", &[])).await;
    assert_eq!((refused.status, refused.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "2"));
    assert!(readers.iter().all(crate::stage::Parked::is_held), "the encoder still sends");
    encoder.until(at(10_300)).await;
    for reader in readers {
        let whole = reader.answer().await;
        assert_eq!((whole.status, whole.broken), (StatusCode::OK, false));
        assert!(whole.ended <= at(10_100), "it ends with its last part");
    }
    assert_eq!(encoder.finish().await, [StatusCode::SERVICE_UNAVAILABLE; 2], "encoders go elsewhere");
    stage.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_source_that_is_silent() {
    let stage = Stage::new();
    let mut encoder = Encoder::of(&stage, vec![Source::video("v0")]);
    encoder.until(at(9_100)).await;
    let segment = stage.media("v0").await.newest().0;
    let reader = stage.park(&format!("v0/{segment}.m4s"));
    encoder.disconnect(0);
    settle().await;
    let asked = stage.now();
    stage.begin_stop();
    assert!(reader.answer().await.broken, "a stump must not look like the whole");
    let now = stage.now();
    assert!(now.since(asked).as_millis() < 1_000, "{:?}", now.since(asked));
    stage.stop().await;
}
