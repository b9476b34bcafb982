// SPDX-License-Identifier: Apache-2.0
//! What holds of a shield's configuration: ranges, addresses, and names that lead somewhere.

use std::fmt::Display;
use std::time::Duration;

use headwater_net::Network;
use headwater_net::config::Error;

use super::{Cache, Config, Limits, Route, Siblings, Upstream};

/// The origin in this process, among an upstream's origins.
pub const HERE: &str = "here";

type Checked = Result<(), Error>;

/// One table while it is checked.
struct Table<'a>(&'a str);

impl Table<'_> {
    fn holds(&self, key: &str, ok: bool, expected: &'static str, found: &dyn Display) -> Checked {
        if ok { Ok(()) } else { Err(Error::value(&format!("{}.{key}", self.0), expected, found)) }
    }

    fn at_least(&self, key: &str, value: impl TryInto<u64>, least: u64, expected: &'static str) -> Checked {
        let value = value.try_into().unwrap_or(u64::MAX);
        self.holds(key, value >= least, expected, &value)
    }

    /// A key of signatures; it is not repeated in an error.
    fn secrets<'a>(&self, key: &str, mut secrets: impl Iterator<Item = &'a String>) -> Checked {
        self.holds(key, secrets.all(|secret| !secret.is_empty()), "text of at least one character", &"\"\"")
    }
}

pub(super) fn whole(config: &Config) -> Checked {
    let same = config.admin_listen.is_some_and(|admin| admin == config.listen && admin.port() != 0);
    if same {
        return Err(Error::value("admin_listen", "another address than listen", &config.listen));
    }
    if config.access_log.as_deref() == Some("") {
        return Err(Error::value("access_log", "a file, or - for the standard output", &"\"\""));
    }
    Table("api").secrets("tokens", config.api.tokens.iter())?;
    config.http.check((Duration::from_secs(1), "1 second or more"))?;
    cache(&config.cache)?;
    for (name, table) in &config.upstreams {
        upstream(&format!("upstreams.{name}"), table)?;
    }
    for (name, table) in &config.routes {
        route(&format!("routes.{name}"), table, config)?;
    }
    apart(config)?;
    config.events.check("events")?;
    follow(config)?;
    siblings(&config.siblings)?;
    limits(&config.limits)
}

/// What a shield needs that has no origin in its process.
pub(super) fn alone(config: &Config) -> Checked {
    if config.routes.is_empty() {
        let expected = "a route at least, as [routes.live] with prefix and upstream";
        return Err(Error::value("routes", expected, &"none"));
    }
    for (name, upstream) in &config.upstreams {
        if upstream.origins.iter().any(|origin| origin == HERE) {
            let expected = "http:// or https:// and an authority, for there is no origin in this process";
            return Err(Error::value(&format!("upstreams.{name}.origins"), expected, &format!("{HERE:?}")));
        }
    }
    Ok(())
}

fn cache(cache: &Cache) -> Checked {
    let table = Table("cache");
    table.at_least("memory_bytes_max", cache.memory_bytes_max, 1 << 20, "1048576 bytes or more")?;
    table.at_least("object_bytes_max", cache.object_bytes_max, 1, "1 byte or more")?;
    if cache.disk_dir.is_some() {
        table.at_least("disk_bytes_max", cache.disk_bytes_max, 1 << 20, "1048576 bytes or more")?;
    }
    table.at_least("keys_max", cache.keys_max, 1, "1 or more")?;
    table.at_least("fills_max", cache.fills_max, 1, "1 or more")
}

fn upstream(name: &str, upstream: &Upstream) -> Checked {
    let table = Table(name);
    table.holds("origins", !upstream.origins.is_empty(), "an origin at least", &"none")?;
    for origin in &upstream.origins {
        let expected = "http:// or https:// and an authority, or here";
        table.holds("origins", origin == HERE || is_server(origin), expected, &format!("{origin:?}"))?;
    }
    if let Some(host) = &upstream.host {
        table.holds("host", is_authority(host), "a host, with or without a port", &format!("{host:?}"))?;
    }
    let path = &upstream.health_path;
    table.holds("health_path", is_path(path), "a path that begins with /", &format!("{path:?}"))?;
    for (key, value) in [
        ("health_timeout_ms", upstream.health_timeout_ms),
        ("connect_ms", upstream.connect_ms),
        ("first_byte_ms", upstream.first_byte_ms),
        ("between_bytes_ms", upstream.between_bytes_ms),
        ("total_ms", upstream.total_ms),
    ] {
        table.at_least(key, value, 1, "1 millisecond or more")?;
    }
    for (key, value) in
        [("rise", upstream.rise), ("fall", upstream.fall), ("failback_checks", upstream.failback_checks)]
    {
        table.at_least(key, value, 1, "1 or more")?;
    }
    table.at_least("connections_max", upstream.connections_max, 1, "1 or more")?;
    table.secrets("key", upstream.key.iter())
}

fn route(name: &str, route: &Route, config: &Config) -> Checked {
    let table = Table(name);
    for host in &route.hosts {
        table.holds("hosts", is_host(host), "hosts without a port", &format!("{host:?}"))?;
    }
    table.holds("prefix", is_path(&route.prefix), "a path that begins with /", &format!("{:?}", route.prefix))?;
    let known = config.upstreams.contains_key(&route.upstream);
    table.holds("upstream", known, "the name of one of [upstreams]", &format!("{:?}", route.upstream))?;
    let before = &route.upstream_prefix;
    let fits = before.is_empty() || is_path(before) && !before.ends_with('/');
    table.holds("upstream_prefix", fits, "nothing, or a path as /live without an end of /", &format!("{before:?}"))?;
    if let Some(tenant) = &route.tenant {
        table.holds("tenant", !tenant.is_empty(), "text of at least one character", &"\"\"")?;
    }
    for edge in &route.edges {
        table.holds("edges", edge.parse::<Network>().is_ok(), "networks as 192.0.2.0/24", &format!("{edge:?}"))?;
    }
    let authority = config.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    let expected = "tls.client_ca beside it, by which certificates of edges are judged";
    table.holds("edge_certificate", authority || !route.edge_certificate, expected, &"none")?;
    table.secrets("token_keys", route.token_keys.iter())?;
    table.holds("hold_ms", route.hold_ms <= 60_000, "0 to 60000 milliseconds", &route.hold_ms)
}

/// Which of two routes is meant must not be a matter of their names.
fn apart(config: &Config) -> Checked {
    for (at, (name, route)) in config.routes.iter().enumerate() {
        for (other, earlier) in config.routes.iter().take(at) {
            let both = |host: &String| earlier.hosts.iter().any(|known| known.eq_ignore_ascii_case(host));
            let hosts = route.hosts.iter().any(both) || route.hosts.is_empty() && earlier.hosts.is_empty();
            if hosts && route.prefix == earlier.prefix {
                let expected = "another prefix or other hosts than an earlier route";
                let found = format!("{:?} as in routes.{other}", route.prefix);
                return Err(Error::value(&format!("routes.{name}.prefix"), expected, &found));
            }
        }
    }
    Ok(())
}

fn follow(config: &Config) -> Checked {
    let (table, follow) = (Table("follow"), &config.follow);
    for (at, feed) in follow.from.iter().enumerate() {
        let expected = "http:// or https:// and an authority, and a path or none, as http://origin.example:8080/events";
        table.holds("from", is_feed(feed), expected, &format!("{feed:?}"))?;
        table.holds("from", !follow.from[..at].contains(feed), "each feed once", &format!("{feed:?} twice"))?;
    }
    let brokers = config.events.kafka.is_some() || !follow.kafka;
    table.holds("kafka", brokers, "the brokers of events.kafka beside it", &"none")?;
    table.at_least("prefetches_max", follow.prefetches_max, 1, "1 or more")
}

/// A server, and a path or none.
fn is_feed(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    is_server(&format!("{scheme}://{authority}")) && (path.is_empty() || is_path(path) && !path.contains('?'))
}

fn siblings(siblings: &Siblings) -> Checked {
    let table = Table("siblings");
    let expected = "http:// or https:// and an authority";
    for (key, address) in
        siblings.own.iter().map(|own| ("own", own)).chain(siblings.others.iter().map(|o| ("others", o)))
    {
        table.holds(key, is_server(address), expected, &format!("{address:?}"))?;
    }
    let needs = siblings.own.is_some() || siblings.others.is_empty();
    table.holds("own", needs, "this shield's own address, as the others name it", &"none")?;
    let itself = siblings.own.as_ref().is_some_and(|own| siblings.others.contains(own));
    table.holds(
        "others",
        !itself,
        "the others alone, without this shield's own address",
        &format!("{:?}", siblings.own),
    )?;
    let shared = siblings.key.is_some() || siblings.others.is_empty();
    table.holds("key", shared, "a key that the siblings share", &"none")?;
    table.secrets("key", siblings.key.iter())
}

fn limits(limits: &Limits) -> Checked {
    let table = Table("limits");
    for (key, value) in [
        ("edge_concurrent_max", limits.edge_concurrent_max),
        ("concurrent_max", limits.concurrent_max),
        ("tracked_max", limits.tracked_max),
    ] {
        table.at_least(key, value, 1, "1 or more")?;
    }
    for (key, value) in [("edge_burst", limits.edge_burst), ("channel_burst", limits.channel_burst)] {
        table.at_least(key, value, 1, "1 or more")?;
    }
    Ok(())
}

/// Scheme and authority and nothing else; a slash at the end is no path.
fn is_server(text: &str) -> bool {
    let Some((scheme, authority)) = text.split_once("://") else { return false };
    (scheme == "http" || scheme == "https") && is_authority(authority.strip_suffix('/').unwrap_or(authority))
}

/// A host, and a port where there is one; nobody's name or password.
fn is_authority(text: &str) -> bool {
    !text.contains('@')
        && text.parse::<http::uri::Authority>().is_ok_and(|authority| {
            let port = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
            !authority.host().is_empty() && (port.is_empty() || authority.port_u16().is_some())
        })
}

fn is_host(text: &str) -> bool {
    is_authority(text) && text.parse::<http::uri::Authority>().is_ok_and(|authority| authority.host() == text)
}

fn is_path(text: &str) -> bool {
    text.starts_with('/') && text.parse::<http::uri::PathAndQuery>().is_ok_and(|path| path.as_str() == text)
}
