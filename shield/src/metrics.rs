// SPDX-License-Identifier: Apache-2.0
//! Every metric of the shield, declared once with its unit, help and labels (OpenMetrics); the reference is written from
//! the declarations.

mod channels;
mod routes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use headwater_net::limits::Tally;
use headwater_net::metrics::{Counter, Declared, Declaring, Gauge, Process, Seconds, table};
use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

pub use channels::Channel;
pub use routes::Route;

pub(crate) use channels::Counts;

use channels::{Channels, OfChannels, Told};
use routes::{Answers, Bytes, Routes};

/// Names of a closed set, each a label's value and a place in a table.
macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// Every one, in the order of their places.
            pub(crate) const ALL: [Self; [$($text),*].len()] = [$(Self::$variant),*];

            /// As the label's value.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}

labels! {
    /// What is asked for.
    Class {
        /// A playlist of HLS.
        Playlist = "playlist",
        /// A playlist whose request says what it waits for.
        Blocking = "blocking",
        /// An MPD or a patch of one.
        Manifest = "manifest",
        /// A CMAF header.
        Header = "header",
        /// A segment.
        Segment = "segment",
        /// A part of one.
        Part = "part",
        /// Anything else.
        Other = "other",
    }
}

labels! {
    /// What became of a request.
    Outcome {
        /// Answered from what was stored.
        Hit = "hit",
        /// Its own request was sent upstream.
        Miss = "miss",
        /// Answered by another's request that was under way.
        Collapsed = "collapsed",
        /// Answered from what was stored, though stale.
        Stale = "stale",
        /// Passed through: no cache serves such a request or answer.
        Bypass = "bypass",
        /// Refused by a limit.
        Limited = "limited",
        /// No origin could answer it, or it was no good request.
        Error = "error",
    }
}

labels! {
    /// How a fill ended.
    Filled {
        /// The object is stored.
        Stored = "stored",
        /// What was stored is good for longer.
        NotModified = "not_modified",
        /// The answer may not be stored.
        Uncacheable = "uncacheable",
        /// It went wrong, and nothing is stored.
        Failed = "failed",
        /// Nobody wanted it any more.
        Abandoned = "abandoned",
    }
}

// After the macro that it uses.
mod followed;

pub(crate) use followed::SourceLabel;
pub use followed::{Ahead, Followed, Ignored};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FillLabel {
    upstream: String,
    outcome: &'static str,
}

/// Of one group of origins.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct UpstreamLabel {
    pub(crate) upstream: String,
}

/// Of one origin.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct OriginLabel {
    pub(crate) upstream: String,
    pub(crate) origin: String,
}

/// Of one bound.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BoundLabel {
    bound: &'static str,
}

/// Of one outcome.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

/// What fills of one group of origins are counted by; a handle that the group's fills share.
#[derive(Clone, Debug)]
pub struct Upstream {
    fills: [Counter; Filled::ALL.len()],
    first_byte: Histogram,
    duration: Histogram,
    bytes: Counter,
}

/// How a fill ended, and what it brought.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    how: Filled,
    bytes: u64,
}

impl Ended {
    /// Without a body of its own.
    pub const fn with(how: Filled) -> Self {
        Self { how, bytes: 0 }
    }

    /// With so many bytes, stored or not.
    pub const fn whole(stored: bool, bytes: u64) -> Self {
        Self { how: if stored { Filled::Stored } else { Filled::Uncacheable }, bytes }
    }
}

/// A fill under way; it is counted when this is dropped.
#[derive(Debug)]
pub struct Filling<'a> {
    fills: &'a Upstream,
    under_way: &'a Gauge,
    begun: Instant,
    /// How it ended; until then it counts as abandoned.
    pub ended: Ended,
}

impl Filling<'_> {
    /// Counts how long the head of the answer took.
    pub fn first_byte(&self, after: Duration) {
        self.fills.first_byte.observe(after.as_secs_f64());
    }
}

impl Drop for Filling<'_> {
    fn drop(&mut self) {
        self.under_way.dec();
        self.fills.fills[self.ended.how as usize].inc();
        self.fills.duration.observe(self.begun.elapsed().as_secs_f64());
        self.fills.bytes.inc_by(self.ended.bytes);
    }
}

impl Upstream {
    /// Counts a fill that begins now.
    pub fn begin<'a>(&'a self, under_way: &'a Gauge) -> Filling<'a> {
        under_way.inc();
        Filling { fills: self, under_way, begun: Instant::now(), ended: Ended::with(Filled::Abandoned) }
    }
}

/// The shield's metrics.
#[derive(Debug)]
pub struct Metrics {
    /// Guards the exposition; held for a scrape.
    registry: Mutex<Registry>,
    declared: Vec<Declared>,
    routes: Arc<Routes>,
    channels: Arc<Channels>,
    /// Guards the names of groups that have rows; held to make or drop some.
    upstreams: Mutex<BTreeSet<String>>,
    fills: Family<FillLabel, Counter>,
    first_byte: Family<UpstreamLabel, Histogram>,
    duration: Family<UpstreamLabel, Histogram>,
    filled_bytes: Family<UpstreamLabel, Counter>,
    refused: Family<BoundLabel, Counter>,
    reloads: Family<OutcomeLabel, Counter>,
    /// Requests that joined another's fill.
    pub collapsed: Counter,
    /// Fills under way.
    pub filling: Gauge,
    /// Fills that went on from another origin after the first had broken off.
    pub resumed: Counter,
    /// Purges that were asked for.
    pub purges: Counter,
    /// What came of events.
    pub followed: Arc<Followed>,
    /// Channels of which something was delivered in the last second that was told of.
    pub(crate) delivered: Gauge,
    /// What is looked at when it is asked for.
    pub(crate) scraped: Scraped,
}

/// Metrics that are read off the shield's state at a scrape; rows of what is gone go with it.
#[derive(Debug, Default)]
pub(crate) struct Scraped {
    pub(crate) memory: Gauge,
    pub(crate) memory_max: Gauge,
    pub(crate) objects: Gauge,
    pub(crate) keys: Gauge,
    pub(crate) open: Gauge,
    pub(crate) held: Gauge,
    pub(crate) tracked: Gauge,
    pub(crate) evicted: Counter,
    pub(crate) disk_up: Gauge,
    pub(crate) disk_hits: Counter,
    pub(crate) disk_written: Counter,
    pub(crate) disk_dropped: Counter,
    pub(crate) disk_failures: Counter,
    pub(crate) connections: Gauge,
    pub(crate) log_dropped: Counter,
    pub(crate) up: Family<OriginLabel, Gauge>,
    pub(crate) origin_requests: Family<OriginLabel, Counter>,
    pub(crate) origin_failed: Family<OriginLabel, Counter>,
    pub(crate) origin_hedges: Family<OriginLabel, Counter>,
    pub(crate) origin_resumed: Family<OriginLabel, Counter>,
    pub(crate) origin_stale: Family<OriginLabel, Counter>,
    pub(crate) origin_connections: Family<OriginLabel, Gauge>,
    pub(crate) origin_in_flight: Family<OriginLabel, Gauge>,
    pub(crate) origin_head: Family<OriginLabel, Seconds>,
    pub(crate) latched: Family<OriginLabel, Gauge>,
    pub(crate) stalled: Family<OriginLabel, Gauge>,
    pub(crate) switches: Family<UpstreamLabel, Counter>,
    pub(crate) hedged: Family<UpstreamLabel, Counter>,
}

impl Scraped {
    fn clear(&self) {
        self.up.clear();
        self.origin_requests.clear();
        self.origin_failed.clear();
        self.origin_hedges.clear();
        self.origin_resumed.clear();
        self.origin_stale.clear();
        self.origin_connections.clear();
        self.origin_in_flight.clear();
        self.origin_head.clear();
        self.latched.clear();
        self.stalled.clear();
        self.switches.clear();
        self.hedged.clear();
    }
}

/// Sets a counter that something else has counted.
pub(crate) fn told(counter: &Counter, count: u64) {
    counter.inner().store(count, Ordering::Relaxed);
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

const UPSTREAM: &[&str] = &["upstream"];
const ORIGIN: &[&str] = &["upstream", "origin"];
const CHANNEL: &[&str] = &["tenant", "channel"];

impl Metrics {
    /// Registers every metric.
    pub fn new() -> Self {
        let seconds: fn() -> Histogram = || Histogram::new(exponential_buckets(0.0005, 2.0, 18));
        let mut this = Self {
            registry: Mutex::new(Registry::default()),
            declared: Vec::new(),
            routes: Arc::default(),
            channels: Arc::default(),
            upstreams: Mutex::default(),
            fills: Family::default(),
            first_byte: Family::new_with_constructor(seconds),
            duration: Family::new_with_constructor(seconds),
            filled_bytes: Family::default(),
            refused: Family::default(),
            reloads: Family::default(),
            collapsed: Counter::default(),
            filling: Gauge::default(),
            resumed: Counter::default(),
            purges: Counter::default(),
            followed: Arc::default(),
            delivered: Gauge::default(),
            scraped: Scraped::default(),
        };
        let mut root = Registry::default();
        let mut declaring = Declaring::new(&mut root, "headwater_shield");
        this.declare(&mut declaring);
        this.declare_upstreams(&mut declaring);
        this.followed.declare(&mut declaring);
        let declared = declaring.finish();
        root.register_collector(Box::new(Process::new()));
        this.declared = declared;
        *this.registry.lock() = root;
        this
    }

    fn declare(&self, d: &mut Declaring<'_>) {
        let (bytes, s) = (|| Some(Unit::Bytes), &self.scraped);
        let answers = Answers(Arc::clone(&self.routes));
        d.add("responses", None, &["route", "class", "status", "outcome"], "Answers to edges", answers);
        let sent = Bytes(Arc::clone(&self.routes));
        d.add("response", bytes(), &["route", "class"], "Bytes of bodies to edges", sent);
        let of = |told| OfChannels(Arc::clone(&self.channels), told);
        let hits = "Requests answered from what was stored or arriving; channels past a bound are `other`";
        d.add("channel_hits", None, CHANNEL, hits, of(Told::Hits));
        d.add("channel_misses", None, CHANNEL, "Requests that were not", of(Told::Misses));
        d.add("channel_origin_requests", None, CHANNEL, "Requests to origins", of(Told::OriginRequests));
        d.add("collapsed", None, &[], "Requests that joined another's fill", self.collapsed.clone());
        d.add("open", None, &[], "Requests that are being answered", s.open.clone());
        d.add("tracked", None, &[], "Edges and channels that are told apart by limits", s.tracked.clone());
        d.add("held", None, &[], "Requests held now for what comes next", s.held.clone());
        d.add("filling", None, &[], "Fills under way", self.filling.clone());
        d.add("memory", bytes(), &[], "Objects in memory, those that are arriving included", s.memory.clone());
        d.add("memory_max", bytes(), &[], "Bound of objects in memory", s.memory_max.clone());
        d.add("objects", None, &[], "Objects in memory", s.objects.clone());
        d.add("keys", None, &[], "URLs of which something is known", s.keys.clone());
        d.add("evicted", None, &[], "Objects that left memory for others", s.evicted.clone());
        d.add(
            "disk_up",
            None,
            &[],
            "1: objects are kept on disk and found there; 0: the disk failed, or there is none",
            s.disk_up.clone(),
        );
        d.add("disk_hits", None, &[], "Objects found on disk", s.disk_hits.clone());
        d.add("disk_written", None, &[], "Objects written to disk", s.disk_written.clone());
        d.add(
            "disk_dropped",
            None,
            &[],
            "Objects not written, as more came than the disk takes",
            s.disk_dropped.clone(),
        );
        d.add(
            "disk_failures",
            None,
            &[],
            "Times that the disk failed and was left alone for a while",
            s.disk_failures.clone(),
        );
        d.add("purges", None, &[], "Purges that were asked for", self.purges.clone());
        d.add("connections", None, &[], "Connections of edges open now", s.connections.clone());
        let refused = "What was refused because it was over a bound";
        d.add("refused", None, &["bound"], refused, self.refused.clone());
        let dropped = "Lines of the access log that were dropped, for its writer was behind";
        d.add("access_log_dropped", None, &[], dropped, s.log_dropped.clone());
        let reloads = "Reloads of the configuration, by outcome";
        d.add("configuration_reloads", None, &["outcome"], reloads, self.reloads.clone());
        d.add("build", None, &["version"], "This program", Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]));
    }

    fn declare_upstreams(&self, d: &mut Declaring<'_>) {
        let (bytes, seconds, s) = (|| Some(Unit::Bytes), || Some(Unit::Seconds), &self.scraped);
        d.add("fills", None, &["upstream", "outcome"], "Fills that ended, by how", self.fills.clone());
        let first_byte = "From asking an origin to the head of its answer";
        d.add("fill_first_byte", seconds(), UPSTREAM, first_byte, self.first_byte.clone());
        d.add("fill_duration", seconds(), UPSTREAM, "From a fill's begin to its end", self.duration.clone());
        d.add("fill", bytes(), UPSTREAM, "Bytes of bodies from origins", self.filled_bytes.clone());
        d.add("fills_resumed", None, &[], "Fills that went on from another origin", self.resumed.clone());
        d.add("upstream_up", None, ORIGIN, "1: the origin is up; 0: it is down", s.up.clone());
        d.add("upstream_requests", None, ORIGIN, "Requests sent, checks not counted", s.origin_requests.clone());
        d.add(
            "upstream_failed",
            None,
            ORIGIN,
            "Requests that got no usable answer; the next origin was asked",
            s.origin_failed.clone(),
        );
        let hedges = "Requests sent to it because another was slow";
        d.add("upstream_hedges", None, ORIGIN, hedges, s.origin_hedges.clone());
        d.add("upstream_resumed", None, ORIGIN, "Bodies of another that it went on with", s.origin_resumed.clone());
        let stale = "Kept connections that had ended unnoticed; their requests were sent again";
        d.add("upstream_stale", None, ORIGIN, stale, s.origin_stale.clone());
        d.add("upstream_connections", None, ORIGIN, "Connections open now", s.origin_connections.clone());
        d.add("upstream_in_flight", None, ORIGIN, "Requests open now", s.origin_in_flight.clone());
        d.add("upstream_head", seconds(), ORIGIN, "How long its heads take, smoothed", s.origin_head.clone());
        let latched = "Channels that play from it though another is preferred";
        d.add("upstream_channels", None, ORIGIN, latched, s.latched.clone());
        d.add("upstream_stalled", None, ORIGIN, "Channels whose playlist stalls there", s.stalled.clone());
        d.add("switches", None, UPSTREAM, "Channels switched from one origin to another", s.switches.clone());
        d.add("hedged", None, UPSTREAM, "Requests given to a second origin too", s.hedged.clone());
    }

    /// The counters of a route's answers.
    pub fn route(&self, name: &str) -> Arc<Route> {
        self.routes.route(name)
    }

    /// The counters of a channel's requests.
    pub fn channel(&self, tenant: &str, name: &str) -> Arc<Channel> {
        self.channels.channel(tenant, name)
    }

    /// The same for requests that no object came of: a channel that nothing is known of gets no counters for them.
    pub(crate) fn known_channel(&self, tenant: &str, name: &str) -> Arc<Channel> {
        self.channels.known(tenant, name)
    }

    /// What became of channels' requests since the last call, of those that had any.
    pub(crate) fn deliveries(&self) -> BTreeMap<Box<str>, Counts> {
        self.channels.take()
    }

    /// The counters of a group's fills.
    pub fn upstream(&self, name: &str) -> Upstream {
        self.upstreams.lock().insert(name.to_owned());
        let label = UpstreamLabel { upstream: name.to_owned() };
        let fills = Filled::ALL
            .map(|how| self.fills.get_or_create_owned(&FillLabel { upstream: name.to_owned(), outcome: how.as_str() }));
        let first_byte = self.first_byte.get_or_create_owned(&label);
        let duration = self.duration.get_or_create_owned(&label);
        Upstream { fills, first_byte, duration, bytes: self.filled_bytes.get_or_create_owned(&label) }
    }

    /// Counts a reload of the configuration.
    pub fn reloaded(&self, good: bool) {
        self.reloads.get_or_create(&OutcomeLabel { outcome: if good { "ok" } else { "refused" } }).inc();
    }

    /// Drops the rows of routes and groups that are no longer configured.
    pub fn retain(&self, is_route: impl Fn(&str) -> bool, is_upstream: impl Fn(&str) -> bool) {
        self.routes.retain(is_route);
        self.upstreams.lock().retain(|name| {
            let stays = is_upstream(name);
            if !stays {
                self.forget(name);
            }
            stays
        });
    }

    fn forget(&self, upstream: &str) {
        for how in Filled::ALL {
            self.fills.remove(&FillLabel { upstream: upstream.to_owned(), outcome: how.as_str() });
        }
        let label = UpstreamLabel { upstream: upstream.to_owned() };
        self.first_byte.remove(&label);
        self.duration.remove(&label);
        self.filled_bytes.remove(&label);
    }

    /// Adds what others measure to the exposition.
    pub fn extend(&self, register: impl FnOnce(&mut Registry)) {
        register(&mut self.registry.lock());
    }

    /// Copies what every bound has counted, the listener's too.
    pub(crate) fn count_refused(&self, tally: &Tally) {
        for (bound, count) in tally.refused() {
            told(&self.refused.get_or_create(&BoundLabel { bound }), count);
        }
    }

    /// Tells those of the events beside its own.
    pub(crate) fn tell_events(&self, events: &headwater_events::Metrics) {
        events.register(&mut self.registry.lock());
    }

    /// Every metric as it was declared; what is told of the process is declared with the origin's.
    pub fn declared(&self) -> &[Declared] {
        &self.declared
    }

    /// The exposition text (OpenMetrics). `look` reads what is told by the state of the moment.
    pub(crate) fn scrape(&self, look: impl FnOnce(&Scraped)) -> String {
        let registry = self.registry.lock();
        self.scraped.clear();
        look(&self.scraped);
        let mut text = String::new();
        // Writing into a String does not fail.
        let _ = encode(&mut text, &registry);
        text
    }
}

/// The shield's part of the reference page of the metrics.
pub fn page() -> String {
    format!(
        "\n## Shield\n\n\
         `GET /.headwater/metrics` of a shield, with what is told of the process. The hit ratio is \
         `sum(rate(headwater_shield_responses_total{{outcome=~\"hit|stale|collapsed\"}}[1m])) / \
         sum(rate(headwater_shield_responses_total[1m]))`.\n\n{}",
        table(Metrics::new().declared())
    )
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn scraped(metrics: &Metrics) -> String {
        metrics.scrape(|_| ())
    }

    #[test]
    fn an_answer_is_counted_by_route_class_status_and_outcome_whatever_thread_gave_it() {
        let metrics = Metrics::new();
        let route = metrics.route("live");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        route.answered(Class::Segment, StatusCode::OK, Outcome::Hit);
                        route.sent(Class::Segment, 10);
                    }
                });
            }
        });
        route.answered(Class::Playlist, StatusCode::NOT_FOUND, Outcome::Miss);
        for odd in [100, 599, 999] {
            route.answered(Class::Other, StatusCode::from_u16(odd).unwrap(), Outcome::Error);
        }
        let text = scraped(&metrics);
        for row in [
            "headwater_shield_responses_total{route=\"live\",class=\"segment\",status=\"200\",outcome=\"hit\"} 800\n",
            "headwater_shield_responses_total{route=\"live\",class=\"playlist\",status=\"404\",outcome=\"miss\"} 1\n",
            "headwater_shield_responses_total{route=\"live\",class=\"other\",status=\"other\",outcome=\"error\"} 3\n",
            "headwater_shield_response_bytes_total{route=\"live\",class=\"segment\"} 8000\n",
        ] {
            assert!(text.contains(row), "{row} is not in\n{text}");
        }
        assert_eq!(text.matches("headwater_shield_responses_total{").count(), 3);
    }

    #[test]
    fn rows_of_what_is_no_longer_configured_go() {
        let metrics = Metrics::new();
        metrics.route("old").answered(Class::Segment, StatusCode::OK, Outcome::Hit);
        let (gone, main) = (metrics.upstream("gone"), metrics.upstream("main"));
        drop(gone.begin(&metrics.filling));
        main.begin(&metrics.filling).ended = Ended::with(Filled::Failed);
        metrics.retain(|route| route == "new", |upstream| upstream == "main");
        let text = scraped(&metrics);
        assert!(!text.contains("\"old\"") && !text.contains("\"gone\""), "{text}");
        assert!(text.contains("headwater_shield_fills_total{upstream=\"main\",outcome=\"failed\"} 1\n"), "{text}");
    }

    #[test]
    fn every_metric_is_declared_once_and_told_under_that_name() {
        let metrics = Metrics::new();
        let names: BTreeSet<&str> = metrics.declared().iter().map(|metric| metric.name.as_str()).collect();
        assert_eq!(names.len(), metrics.declared().len());
        metrics.route("live").answered(Class::Part, StatusCode::OK, Outcome::Collapsed);
        metrics.channel("live", "news").hit(0);
        let main = metrics.upstream("main");
        main.begin(&metrics.filling).ended = Ended::whole(true, 10);
        let text = scraped(&metrics);
        let told = text.lines().filter_map(|line| line.strip_prefix("# TYPE headwater_"));
        let mut families = 0;
        for (family, kind) in told.filter_map(|line| line.split_once(' ')) {
            let suffix = match kind {
                "counter" => "_total",
                "info" => "_info",
                _ => "",
            };
            assert!(names.contains(format!("headwater_{family}{suffix}").as_str()), "{family} is not declared");
            families += 1;
        }
        assert!(families > 20, "{text}");
        assert!(text.contains("process_resident_memory_bytes"));
    }
}
