// SPDX-License-Identifier: Apache-2.0
//! Posts to a receiver over sockets that answers by script.

use std::sync::Arc;
use std::time::Duration;

use headwater_media::UtcTime;
use headwater_net::Shutdown;
use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::{Error, TRIES_MAX, Webhook};
use crate::config;
use crate::event::{Data, Event, Role, Source};
use crate::publisher::Publisher;
use crate::tests::channel_ended;

/// What a request brought.
#[derive(Clone, Debug)]
struct Post {
    head: String,
    body: Vec<u8>,
}

/// Answers requests by its script, and 204 after its end; an empty answer ends the connection instead.
struct Receiver {
    url: String,
    posts: Arc<Mutex<Vec<Post>>>,
}

impl Receiver {
    async fn start(script: &[&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hooks?of=us", listener.local_addr().unwrap());
        let posts: Arc<Mutex<Vec<Post>>> = Arc::default();
        let (script, taken) = (script.to_vec(), Arc::clone(&posts));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut stream = BufReader::new(stream);
                while let Some(post) = read(&mut stream).await {
                    let number = {
                        let mut taken = taken.lock();
                        taken.push(post);
                        taken.len() - 1
                    };
                    let answer = script.get(number).copied().unwrap_or("HTTP/1.1 204 No Content\r\n\r\n");
                    if answer.is_empty() {
                        break;
                    }
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
        });
        Self { url, posts }
    }

    fn config(&self) -> config::Webhook {
        config::Webhook { url: self.url.clone(), types: "channel.*".into(), ..config::Webhook::default() }
    }

    fn ids(&self) -> Vec<String> {
        self.posts.lock().iter().map(|post| Event::from_json(&post.body).unwrap().id).collect()
    }

    async fn has(&self, count: usize) {
        until(|| self.posts.lock().len() >= count).await;
    }
}

async fn until(mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(60), wait).await.expect("it comes to hold");
}

async fn read(stream: &mut BufReader<tokio::net::TcpStream>) -> Option<Post> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    let length = head.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(Post { head, body })
}

fn publisher() -> Publisher {
    Publisher::memory(Source::new(Role::Origin, "n"))
}

fn publish(publisher: &Publisher, channel: &str) {
    publisher.publish(UtcTime::from_nanos(0), channel_ended(channel));
}

fn id(channel: &str) -> String {
    Event::new(&Source::new(Role::Origin, "n"), UtcTime::from_nanos(0), channel_ended(channel)).id
}

/// A webhook whose pauses are short.
fn webhook(config: &config::Webhook, publisher: &Publisher) -> Webhook {
    let webhook = Webhook::new(config, None, Arc::clone(publisher.metrics())).unwrap();
    Webhook { pause: (Duration::from_millis(1), Duration::from_millis(5)), ..webhook }
}

fn counted(publisher: &Publisher, outcome: &'static str) -> u64 {
    publisher.metrics().webhook_posts(outcome)
}

#[tokio::test]
async fn an_event_is_posted_as_a_signed_cloud_event() {
    let (receiver, publisher, shutdown) = (Receiver::start(&[]).await, publisher(), Shutdown::new());
    let config = config::Webhook { key: Some("secret".into()), ..receiver.config() };
    tokio::spawn(webhook(&config, &publisher).run_over(Arc::clone(publisher.log()), shutdown.clone()));
    tokio::task::yield_now().await;
    publish(&publisher, "news");
    receiver.has(1).await;
    let post = receiver.posts.lock()[0].clone();
    assert!(post.head.starts_with("POST /hooks?of=us HTTP/1.1\r\n"), "{}", post.head);
    assert!(post.head.contains("content-type: application/cloudevents+json; charset=utf-8\r\n"), "{}", post.head);
    let event = Event::from_json(&post.body).unwrap();
    assert!(matches!(event.data, Data::ChannelEnded(_)));
    let signature = post.head.lines().find_map(|line| line.strip_prefix("webhook-signature: sha256=")).unwrap();
    let signature: Vec<u8> = (0..32).map(|i| u8::from_str_radix(&signature[2 * i..2 * i + 2], 16).unwrap()).collect();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"secret");
    ring::hmac::verify(&key, &post.body, &signature).unwrap();
}

#[tokio::test]
async fn what_fails_is_posted_again_before_the_next_and_what_is_refused_is_not() {
    let script = [
        "",
        "HTTP/1.1 503 Busy\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 429 Later\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 400 No\r\ncontent-length: 0\r\n\r\n",
    ];
    let (receiver, publisher, shutdown) = (Receiver::start(&script).await, publisher(), Shutdown::new());
    tokio::spawn(webhook(&receiver.config(), &publisher).run_over(Arc::clone(publisher.log()), shutdown.clone()));
    tokio::task::yield_now().await;
    for channel in ["a", "b", "c"] {
        publish(&publisher, channel);
    }
    receiver.has(6).await;
    assert_eq!(receiver.ids(), [id("a"), id("a"), id("a"), id("a"), id("b"), id("c")]);
    let counts = ["failed", "taken", "refused", "given_up"].map(|outcome| counted(&publisher, outcome));
    assert_eq!(counts[0], 3);
    assert_eq!(counts[2..], [1, 0]);
}

#[tokio::test]
async fn a_receiver_that_fails_at_an_event_gets_the_next_after_ten_tries() {
    let script = ["HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n"; TRIES_MAX as usize];
    let (receiver, publisher, shutdown) = (Receiver::start(&script).await, publisher(), Shutdown::new());
    tokio::spawn(webhook(&receiver.config(), &publisher).run_over(Arc::clone(publisher.log()), shutdown.clone()));
    tokio::task::yield_now().await;
    publish(&publisher, "poison");
    publish(&publisher, "good");
    receiver.has(TRIES_MAX as usize + 1).await;
    assert_eq!(receiver.ids().iter().filter(|posted| **posted == id("poison")).count(), TRIES_MAX as usize);
    assert_eq!(counted(&publisher, "given_up"), 1);
}

#[tokio::test]
async fn after_a_restart_posts_go_on_behind_what_was_taken() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("webhook.json");
    let (receiver, publisher) = (Receiver::start(&[]).await, publisher());
    let hook = || Webhook { file: Some(file.clone()), ..webhook(&receiver.config(), &publisher) };
    publish(&publisher, "long past");
    for (round, channel) in ["a", "b", "c"].into_iter().enumerate() {
        let shutdown = Shutdown::new();
        if round > 0 {
            publish(&publisher, channel);
        }
        let running = tokio::spawn(hook().run_over(Arc::clone(publisher.log()), shutdown.clone()));
        if round == 0 {
            // The first begins at the end of the log, which is kept before anything comes.
            until(|| file.exists()).await;
            publish(&publisher, channel);
        }
        receiver.has(round + 1).await;
        let kept = |text: &[u8]| String::from_utf8_lossy(text).contains(&format!("\"log\":{}", round + 1));
        until(|| std::fs::read(&file).is_ok_and(|text| kept(&text))).await;
        shutdown.start();
        running.await.unwrap();
    }
    assert_eq!(receiver.ids(), [id("a"), id("b"), id("c")]);
}

#[test]
fn what_cannot_be_posted_is_said_at_once() {
    let new = |url: &str, types: &str| {
        let config = config::Webhook { url: url.into(), types: types.into(), key: None };
        Webhook::new(&config, None, Arc::default()).unwrap_err()
    };
    assert!(matches!(new("ftp://a/", "alert"), Error::Url(_)));
    assert!(matches!(new("http://user:word@a/", "alert"), Error::Url(_)));
    assert_eq!(new("nowhere", "alert").to_string(), "expected http://… or https://… to post events to, got nowhere");
    assert_eq!(new("http://a/", "alarm").to_string(), "expected types of events separated by commas, got alarm");
    assert!(matches!(new("http://a/", ""), Error::Type(_)));
}
