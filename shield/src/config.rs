// SPDX-License-Identifier: Apache-2.0
//! The shield's configuration: every key with its default and what it is for.

mod check;
pub mod reference;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use headwater_net::config::{self, Configuration, Error, Http, Key};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use check::HERE;

/// Everything a shield is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = ShieldConfig)]
pub struct Config {
    /// Where edges connect; HTTP/1.1 and HTTP/2 on one port.
    #[schema(value_type = String)]
    pub listen: SocketAddr,
    /// Where the API, the metrics and the health pages are; none: on `listen`, beside what is proxied.
    #[schema(value_type = Option<String>, example = "127.0.0.1:8082")]
    pub admin_listen: Option<SocketAddr>,
    /// How long a stop waits for open requests.
    pub drain_seconds: u32,
    /// The access log: `-` for the standard output, a file, or nothing.
    #[schema(example = "/var/log/headwater/access.log")]
    pub access_log: Option<String>,
    /// TLS of the listener.
    pub tls: Option<Tls>,
    /// Who may use the API.
    pub api: Api,
    /// What is kept, where, and how long where the origin does not say.
    pub cache: Cache,
    /// Groups of origins that serve the same, the preferred one first.
    #[schema(example = json!({"main": {"origins": ["http://127.0.0.1:8080", "http://127.0.0.1:8090"], "identical": true}}))]
    pub upstreams: BTreeMap<String, Upstream>,
    /// Which requests go to which group; the longest prefix among those whose host fits wins.
    #[schema(example = json!({"live": {"prefix": "/live/", "upstream": "main"}}))]
    pub routes: BTreeMap<String, Route>,
    /// What becomes of events: of this shield's own, where it does not run beside an origin whose log it shares.
    pub events: headwater_events::Config,
    /// Whose events are acted on, and how.
    pub follow: Follow,
    /// Tell edges and players with each answer of a live route how loaded this shield is (CMSD-Dynamic, CTA-5006).
    pub cmsd: bool,
    /// Other shields beside this one.
    pub siblings: Siblings,
    /// Bounds of what edges may ask for.
    pub limits: Limits,
    /// Bounds of connections and requests.
    pub http: Http,
}

/// A certificate chain and its key, PEM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ShieldTls)]
pub struct Tls {
    /// The certificate chain, PEM.
    #[schema(value_type = String, example = "/etc/headwater/chain.pem")]
    pub certificate: PathBuf,
    /// Its key, PEM.
    #[schema(value_type = String, example = "/etc/headwater/key.pem")]
    pub key: PathBuf,
    /// Authority of edges' certificates, PEM. A route may ask for such a certificate.
    #[schema(value_type = Option<String>, example = "/etc/headwater/edges.pem")]
    pub client_ca: Option<PathBuf>,
}

/// Who may use the API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = ShieldApi)]
pub struct Api {
    /// Bearer tokens; any one of them admits. None: anybody may read, changes are admitted from this machine alone.
    pub tokens: Vec<String>,
}

/// What is kept, where, and how long where the origin does not say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cache {
    /// Bytes of objects in memory, those that are still arriving included.
    pub memory_bytes_max: u64,
    /// The largest object that is kept; a larger one is passed through.
    pub object_bytes_max: u64,
    /// A folder for what memory has no room for; none: memory alone.
    #[schema(value_type = Option<String>, example = "/var/cache/headwater")]
    pub disk_dir: Option<PathBuf>,
    /// Bytes of objects on disk.
    pub disk_bytes_max: u64,
    /// How long an error of the origin without a lifetime of its own is kept (404, 410 and the like).
    pub negative_ms: u32,
    /// How long a URL whose answer may not be shared is remembered as such, so that nobody waits for another's.
    pub uncacheable_ms: u32,
    /// How long a stale object may be served while the origin fails, where it does not say itself (RFC 5861).
    pub stale_if_error_seconds: u32,
    /// Keys remembered at once, with or without an object.
    pub keys_max: usize,
    /// Objects that may be arriving at once.
    pub fills_max: usize,
}

/// Origins that serve the same under the same paths.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Upstream {
    /// `http://` or `https://` and an authority, the preferred one first; `here` is the origin in this process.
    pub origins: Vec<String>,
    /// The origins write identical bytes under identical names, as twins of Headwater do: a transfer that dies goes on
    /// from the other even where the answer has no strong validator.
    pub identical: bool,
    /// The Host that the origins are asked for; none: what the client asked for.
    #[schema(example = "origin.example")]
    pub host: Option<String>,
    /// The path of the active health check; any answer from 200 to 399 is good.
    pub health_path: String,
    /// How often it is asked, in milliseconds; 0: never.
    pub health_interval_ms: u32,
    /// How long its answer may take, in milliseconds.
    pub health_timeout_ms: u32,
    /// Good answers in a row that make an origin up.
    pub rise: u32,
    /// Bad ones in a row, of checks or of requests, that make it down.
    pub fall: u32,
    /// How long connecting may take, in milliseconds.
    pub connect_ms: u32,
    /// How long an answer's head may take, in milliseconds; a request that the origin may hold has `held_ms` more.
    pub first_byte_ms: u32,
    /// How long an origin may hold a request for what comes next, in milliseconds.
    pub held_ms: u32,
    /// How long a body may bring nothing, in milliseconds.
    pub between_bytes_ms: u32,
    /// How long a whole answer may take, in milliseconds.
    pub total_ms: u32,
    /// Ask the next origin too when the first has not answered within this, in milliseconds; 0: never. Requests that an
    /// origin holds on purpose are not hedged.
    pub hedge_ms: u32,
    /// After a switch no further one is made for this long, unless the origin in use is down.
    pub hold_down_ms: u32,
    /// Good health checks in a row before the preferred origin is used again.
    pub failback_checks: u32,
    /// Connections to one origin at once, idle ones included. A request that an origin holds takes one: allow two for
    /// each rendition that is played live.
    pub connections_max: usize,
    /// A key shared with the origins: requests are signed with it, and an origin that has it answers nobody else.
    #[schema(example = "a long random text")]
    pub key: Option<String>,
    /// Authority of the origins' certificates, PEM; none: the system's.
    #[schema(value_type = Option<String>, example = "/etc/headwater/origins.pem")]
    pub ca: Option<PathBuf>,
}

/// What belongs to whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Route {
    /// Hosts that this route serves, without port; none: any.
    pub hosts: Vec<String>,
    /// What the path begins with.
    pub prefix: String,
    /// The group of origins.
    pub upstream: String,
    /// Put before the path towards the origins.
    pub upstream_prefix: String,
    /// Routes of one tenant share what they keep; other tenants never see it. Default: the route's name.
    #[schema(example = "news")]
    pub tenant: Option<String>,
    /// HLS and DASH are followed: playlists never go back, a stalled origin is noticed, what comes next is held.
    pub live: bool,
    /// Query parameters that are no part of the key and are not sent on; `*` stands for all but those of LL-HLS.
    pub ignored_parameters: Vec<String>,
    /// Networks of edges that may ask, as `192.0.2.0/24`; none: any.
    pub edges: Vec<String>,
    /// Edges must show a certificate of the listener's `client_ca`.
    pub edge_certificate: bool,
    /// Keys of signed URLs: with any, a URL needs a token made with one of them.
    pub token_keys: Vec<String>,
    /// How long a request for what comes next may be held here, in milliseconds; 0: not at all.
    pub hold_ms: u32,
}

/// Whose events are acted on, and how. A shield in the process of an origin follows that one by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Follow {
    /// Feeds of events: `http://` or `https://` and an authority; the path is `/events` where none is said, and
    /// `/.headwater/events` at another shield.
    #[schema(example = json!(["http://127.0.0.1:8080", "http://127.0.0.1:8090"]))]
    pub from: Vec<String>,
    /// What these feeds are shown, one of their `api.tokens`, where they want one.
    #[schema(example = "a long random text")]
    pub token: Option<String>,
    /// Follow the brokers of `[events.kafka]` too.
    pub kafka: bool,
    /// What is fetched when an event tells that it is there, before an edge asks: `all`, `asked` (of tracks that an edge
    /// asked for in the last two minutes), or `off`.
    pub prefetch: Prefetch,
    /// Parts are fetched too, not only whole segments.
    pub parts: bool,
    /// Objects that are fetched so at once; sixteen times as many wait, and of those the oldest goes for another.
    pub prefetches_max: usize,
}

/// What is fetched before an edge asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Prefetch {
    /// Everything that events tell of.
    All,
    /// What belongs to a track that an edge asked for lately.
    #[default]
    Asked,
    /// Nothing.
    Off,
}

/// Other shields beside this one: a miss is asked of the one that a key belongs to before an origin is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Siblings {
    /// This shield's own address among them, as the others name it.
    #[schema(example = "http://shield-a:8081")]
    pub own: Option<String>,
    /// The others' addresses.
    pub others: Vec<String>,
    /// A key that they share: what a sibling asks is signed with it, and is never passed on to a third.
    #[schema(example = "a long random text")]
    pub key: Option<String>,
    /// How long a sibling may take for an answer's head before an origin is asked instead, in milliseconds. A request
    /// that an origin holds for what comes next waits as long as the sibling lives.
    pub wait_ms: u32,
}

/// Bounds of what edges may ask for. Over one: 429 with Retry-After; over a bound of the whole: 503.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = ShieldLimits)]
pub struct Limits {
    /// Requests a second of one edge (address; IPv6: one /64 network); 0: as many as come.
    pub edge_requests_per_second: u32,
    /// Requests of an edge that may come at once beyond that.
    pub edge_burst: u32,
    /// Bytes a second to one edge; 0: as many as it takes.
    pub edge_bytes_per_second: u64,
    /// Requests of one edge at once.
    pub edge_concurrent_max: usize,
    /// Requests a second for one channel; 0: as many as come.
    pub channel_requests_per_second: u32,
    /// Requests of a channel that may come at once beyond that.
    pub channel_burst: u32,
    /// Requests held for what comes next, of one channel.
    pub held_per_channel_max: usize,
    /// Requests held for what comes next, over all.
    pub held_max: usize,
    /// Requests at once over all; past nine tenths of it only the live edge is served.
    pub concurrent_max: usize,
    /// Edges and channels that are told apart at once; the longest unseen is forgotten.
    pub tracked_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 8081)),
            admin_listen: None,
            drain_seconds: 10,
            access_log: None,
            tls: None,
            api: Api::default(),
            cache: Cache::default(),
            upstreams: BTreeMap::new(),
            routes: BTreeMap::new(),
            events: headwater_events::Config::default(),
            cmsd: true,
            follow: Follow::default(),
            siblings: Siblings::default(),
            limits: Limits::default(),
            http: Http::default(),
        }
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            memory_bytes_max: 1 << 30,
            object_bytes_max: 256 << 20,
            disk_dir: None,
            disk_bytes_max: 64 << 30,
            negative_ms: 250,
            uncacheable_ms: 10_000,
            stale_if_error_seconds: 0,
            keys_max: 1_000_000,
            fills_max: 16_384,
        }
    }
}

impl Default for Upstream {
    fn default() -> Self {
        Self {
            origins: Vec::new(),
            identical: false,
            host: None,
            health_path: "/healthz".to_owned(),
            health_interval_ms: 1_000,
            health_timeout_ms: 500,
            rise: 2,
            fall: 2,
            connect_ms: 500,
            first_byte_ms: 2_000,
            held_ms: 30_000,
            between_bytes_ms: 5_000,
            total_ms: 120_000,
            hedge_ms: 250,
            hold_down_ms: 10_000,
            failback_checks: 5,
            connections_max: 2_048,
            key: None,
            ca: None,
        }
    }
}

impl Default for Route {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            prefix: "/".to_owned(),
            upstream: String::new(),
            upstream_prefix: String::new(),
            tenant: None,
            live: true,
            ignored_parameters: Vec::new(),
            edges: Vec::new(),
            edge_certificate: false,
            token_keys: Vec::new(),
            hold_ms: 3_000,
        }
    }
}

impl Default for Follow {
    fn default() -> Self {
        Self { from: Vec::new(), token: None, kafka: false, prefetch: Prefetch::Asked, parts: true, prefetches_max: 64 }
    }
}

impl Default for Siblings {
    fn default() -> Self {
        Self { own: None, others: Vec::new(), key: None, wait_ms: 500 }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            edge_requests_per_second: 0,
            edge_burst: 1_000,
            edge_bytes_per_second: 0,
            edge_concurrent_max: 65_536,
            channel_requests_per_second: 0,
            channel_burst: 1_000,
            held_per_channel_max: 100_000,
            held_max: 200_000,
            concurrent_max: 400_000,
            tracked_max: 100_000,
        }
    }
}

static KEYS: LazyLock<Vec<Key>> = LazyLock::new(Key::of::<Config>);

impl Configuration for Config {
    /// The same names as where these keys stand under `[shield]` of an origin's file.
    const PREFIX: &'static str = "HEADWATER_SHIELD__";

    fn keys() -> &'static [Key] {
        &KEYS
    }

    fn defaults_below(path: &str) -> Option<serde_json::Value> {
        match path {
            "upstreams" => serde_json::to_value(Upstream::default()).ok(),
            "routes" => serde_json::to_value(Route::default()).ok(),
            _ => headwater_events::Config::defaults_below(path.strip_prefix("events.")?),
        }
    }

    fn check(&self) -> Result<(), Error> {
        check::whole(self)
    }
}

impl Config {
    /// Reads the TOML text, overridden by those of `variables` (names and values) that name keys.
    ///
    /// # Errors
    /// [`Error`] names the line or the variable, and the key.
    pub fn layered(text: &str, variables: &[(String, String)]) -> Result<Self, Error> {
        config::read(text, variables)
    }

    /// Checks what a shield needs that has no origin in its process: routes, and origins elsewhere.
    ///
    /// # Errors
    /// [`Error::Value`] for the first that is missing.
    pub fn check_alone(&self) -> Result<(), Error> {
        check::alone(self)
    }

    /// How long a stop may take.
    pub fn drain(&self) -> Duration {
        Duration::from_secs(u64::from(self.drain_seconds))
    }
}
