// SPDX-License-Identifier: Apache-2.0
//! A client may leave at any moment: at each await of its answer and of its body. Whoever is left gets everything, and
//! the store counts what it holds.
//!
//! One client is polled k times and dropped, for every k until it is through: on one thread and a paused clock, so each
//! k is a moment of its own. (The locks and watches in use do not run under a model checker of interleavings; orders of
//! polls are what tasks can be interleaved by on one thread.)

use axum::body::Body;
use http::Response;
use tokio::task::yield_now;

use crate::here::{Here, Pipe, answer, cancelled, settled};

/// What the origin does, every step of it after a turn of all others.
#[derive(Clone, Copy, Debug)]
enum Scene {
    Known,
    Unknown,
    Playlist,
    Confirmed,
    Alone,
    Momentary,
    Failing,
    Broken,
    Ranged,
}

const SCENES: [Scene; 9] = [
    Scene::Known,
    Scene::Unknown,
    Scene::Playlist,
    Scene::Confirmed,
    Scene::Alone,
    Scene::Momentary,
    Scene::Failing,
    Scene::Broken,
    Scene::Ranged,
];

const PLAYLIST: &str = "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n1.ts\n";

impl Scene {
    fn target(self) -> &'static str {
        match self {
            Self::Playlist => "/live/media.m3u8",
            _ => "/live/1.m4s",
        }
    }

    fn fields(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Ranged => &[("range", "bytes=2-3")],
            _ => &[],
        }
    }

    /// What who stays gets: status, body, and whether that is whole.
    fn expected(self) -> (u16, &'static str, bool) {
        match self {
            Self::Playlist => (200, PLAYLIST, true),
            Self::Failing => (503, "down", true),
            Self::Broken => (200, "abc", false),
            Self::Ranged => (206, "cd", true),
            _ => (200, "abcdef", true),
        }
    }

    async fn answer(self, confirmed: bool) -> Response<Body> {
        for _ in 0..3 {
            yield_now().await;
        }
        let control = match self {
            Self::Alone => "private",
            Self::Momentary => "max-age=0",
            Self::Confirmed => "max-age=1",
            _ => "max-age=60",
        };
        let fields = [("cache-control", control), ("etag", "\"a\"")];
        if confirmed {
            return answer(304, &fields, Body::empty());
        }
        if matches!(self, Self::Failing) {
            return answer(503, &[], "down");
        }
        let (pipe, body) = Pipe::new();
        tokio::spawn(async move {
            let pieces = match self {
                Self::Playlist => vec![&PLAYLIST[..20], &PLAYLIST[20..]],
                _ => vec!["ab", "c", "def"],
            };
            for piece in pieces {
                for _ in 0..3 {
                    yield_now().await;
                }
                if piece == "def" && matches!(self, Self::Broken) {
                    return pipe.fail();
                }
                pipe.send(piece);
            }
        });
        let mut response =
            answer(200, &fields[..if matches!(self, Self::Momentary | Self::Broken) { 1 } else { 2 }], body);
        if !matches!(self, Self::Unknown | Self::Playlist) {
            response.headers_mut().insert("content-length", 6.into());
        }
        response
    }
}

fn shield(scene: Scene) -> Here {
    Here::of(move |seen| scene.answer(seen.field("if-none-match").is_some()))
}

/// Five clients, of whom the one at `leaving` is dropped after so many polls; true if it was through before.
async fn play(scene: Scene, here: &Here, leaving: usize, polls: usize) -> bool {
    if matches!(scene, Scene::Confirmed) {
        assert_eq!(here.get(scene.target()).await.text(), "abcdef");
        tokio::time::advance(std::time::Duration::from_millis(1_500)).await;
    }
    let client = || here.client(scene.target(), scene.fields());
    let before: Vec<_> = (0..leaving).map(|_| tokio::spawn(client())).collect();
    yield_now().await;
    let leaver = tokio::spawn(cancelled(client(), polls));
    let after: Vec<_> = (leaving..4).map(|_| tokio::spawn(client())).collect();
    let expected = scene.expected();
    for staying in before.into_iter().chain(after) {
        let got = staying.await.expect("an answer");
        assert_eq!((got.status.as_u16(), got.text(), got.whole), expected, "{scene:?}, left after {polls}: {got:?}");
    }
    leaver.await.expect("no panic").is_some()
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_at_any_moment_takes_nothing_from_the_others() {
    for scene in SCENES {
        let undisturbed = shield(scene);
        play(scene, &undisturbed, 0, usize::MAX).await;
        settled().await;
        let (held, requests) = (undisturbed.held_bytes(), undisturbed.count(scene.target()));
        for leaving in [0, 2, 4] {
            for polls in 0.. {
                let here = shield(scene);
                let through = play(scene, &here, leaving, polls).await;
                settled().await;
                assert_eq!(here.held_bytes(), held, "{scene:?}, client {leaving} left after {polls}");
                let made = here.count(scene.target());
                assert!(made <= requests + 1, "{scene:?}, client {leaving} left after {polls}: {made} requests");
                if through {
                    break;
                }
                assert!(polls < 1_000, "{scene:?}: the client is never through");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn clients_that_all_leave_leave_a_shield_as_good_as_new() {
    for scene in SCENES {
        let undisturbed = shield(scene);
        let through = play(scene, &undisturbed, 0, usize::MAX).await;
        assert!(through);
        for polls in 0..60 {
            let here = shield(scene);
            let leaving: Vec<_> = (0..3)
                .map(|n| tokio::spawn(cancelled(here.client(scene.target(), scene.fields()), polls + n)))
                .collect();
            for leaver in leaving {
                leaver.await.expect("no panic");
            }
            settled().await;
            play(scene, &here, 0, usize::MAX).await;
            settled().await;
            let held = here.held_bytes();
            assert!(held <= undisturbed.held_bytes(), "{scene:?} after {polls}: {held} bytes");
        }
    }
}
