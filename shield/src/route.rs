// SPDX-License-Identifier: Apache-2.0
//! Which request belongs to which group of origins, under which key, and what kind of thing it asks for.

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use headwater_media::path::{LivePath, Object};
use http::Uri;
use http::uri::PathAndQuery;

use crate::guard::{Access, token};
use crate::live::{self, Directives};
use crate::metrics::{self, Metrics};
use crate::upstream::Group;
use crate::{Error, config};

/// What of a live stream a URL names, as far as its path and query tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An HLS playlist or an MPD as it is now.
    Playlist,
    /// A playlist of a certain version, which the origin may hold (`_HLS_msn`).
    Blocking,
    /// A part, or a segment.
    Media,
    /// A CMAF header.
    Header,
    /// Anything else.
    Other,
}

impl Kind {
    /// Reads it off a URL.
    pub fn of(path: &str, query: &str) -> Self {
        let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
        match extension {
            "m3u8" | "m3u" if Directives::read(query).is_some_and(|asked| asked.is_blocking()) => Self::Blocking,
            "m3u8" | "m3u" | "mpd" | "mpp" => Self::Playlist,
            "mp4" if path.rsplit_once('/').is_some_and(|(_, file)| file.starts_with("init")) => Self::Header,
            "m4s" | "m4v" | "m4a" | "m4i" | "cmfv" | "cmfa" | "cmft" | "ts" | "aac" | "ac3" | "ec3" | "mp3" | "vtt"
            | "webvtt" | "mp4" => Self::Media,
            _ => Self::Other,
        }
    }

    /// True for playlists and MPDs of any kind.
    pub const fn is_playlist(self) -> bool {
        matches!(self, Self::Playlist | Self::Blocking)
    }
}

/// Routes, the most special one first.
#[derive(Debug, Default)]
pub struct Routes {
    all: Vec<Arc<Route>>,
}

/// A route and what it needs.
#[derive(Debug)]
pub struct Route {
    /// Its name in the configuration.
    pub name: String,
    /// What its keys begin with.
    pub tenant: String,
    /// Its settings.
    pub settings: config::Route,
    /// Where its misses go.
    pub group: Arc<Group>,
    /// Who may ask.
    pub access: Access,
    /// What is counted of its answers.
    pub counts: Arc<metrics::Route>,
    /// What is counted of its fills.
    pub fills: metrics::Upstream,
    hosts: Vec<String>,
}

impl Routes {
    /// Routes by configuration; `group` finds a group by name.
    ///
    /// # Errors
    /// If a network of one is none.
    pub fn new(
        config: &config::Config,
        metrics: &Metrics,
        group: impl Fn(&str) -> Option<Arc<Group>>,
    ) -> Result<Self, Error> {
        let route = |(name, settings): (&String, &config::Route)| {
            let Some(group) = group(&settings.upstream) else { return Ok(None) };
            Ok(Some(Arc::new(Route {
                name: name.clone(),
                tenant: settings.tenant.clone().unwrap_or_else(|| name.clone()),
                hosts: settings.hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
                settings: settings.clone(),
                group,
                access: Access::new(settings).map_err(|source| Error::Route { route: name.clone(), source })?,
                counts: metrics.route(name),
                fills: metrics.upstream(&settings.upstream),
            })))
        };
        let all: Result<Vec<_>, Error> = config.routes.iter().map(route).collect();
        let mut all: Vec<_> = all?.into_iter().flatten().collect();
        // The longest prefix first; of equal ones a named host before any host.
        all.sort_by_key(|route| (std::cmp::Reverse(route.settings.prefix.len()), route.hosts.is_empty()));
        Ok(Self { all })
    }

    /// The route of a request.
    pub fn find(&self, host: &str, path: &str) -> Option<&Arc<Route>> {
        let name = without_port(host);
        self.all.iter().find(|route| {
            path.starts_with(&route.settings.prefix)
                && (route.hosts.is_empty() || route.hosts.iter().any(|host| host.eq_ignore_ascii_case(name)))
        })
    }

    /// Every route.
    pub fn all(&self) -> &[Arc<Route>] {
        &self.all
    }
}

/// An authority's host.
pub fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !host.ends_with(':') => host,
        _ => authority,
    }
}

impl Route {
    /// Writes the key of a URL: tenant, host, path, query.
    ///
    /// Query parameters that are not the origin's business are left out, and those of LL-HLS stand in one order, so that
    /// players that write them differently ask for the same thing.
    pub fn write_key(&self, key: &mut String, host: &str, path: &str, query: &str) {
        key.clear();
        key.push_str(&self.tenant);
        key.push('\n');
        // RFC 9110, 4.2.3: a host's case does not matter.
        key.extend(host.chars().map(|c| c.to_ascii_lowercase()));
        key.push_str(path);
        let query = self.query(query);
        if !query.is_empty() {
            let _ = write!(key, "?{query}");
        }
    }

    /// The query as it is sent on.
    pub fn query<'a>(&self, query: &'a str) -> Cow<'a, str> {
        match token::strip(query) {
            Cow::Borrowed(query) => live::canonical(query, &self.settings.ignored_parameters),
            Cow::Owned(query) => Cow::Owned(live::canonical(&query, &self.settings.ignored_parameters).into_owned()),
        }
    }

    /// Path and query as the origins are asked.
    pub fn target(&self, uri: &Uri) -> PathAndQuery {
        let query = self.query(uri.query().unwrap_or(""));
        let mark = if query.is_empty() { "" } else { "?" };
        let text = format!("{}{}{mark}{query}", self.settings.upstream_prefix, uri.path());
        // NB: the prefix was checked with the configuration, the rest was read as a path and query before.
        text.parse().unwrap_or_else(|_| PathAndQuery::from_static("/"))
    }

    /// The hosts that it serves, in lower case, without port; none: any.
    pub(crate) fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// How long anything may take: its group's longest answer, and what may be held before it begins.
    pub fn patience(&self) -> Duration {
        let settings = self.group.patience();
        settings + self.hold()
    }

    /// True if it takes more than a key to be served: who may ask is looked at.
    pub fn is_guarded(&self) -> bool {
        let Self { settings, .. } = self;
        !settings.edges.is_empty() || settings.edge_certificate || !settings.token_keys.is_empty()
    }

    /// How long a request for what comes next may be held.
    pub fn hold(&self) -> Duration {
        Duration::from_millis(u64::from(self.settings.hold_ms))
    }
}

/// The channel that a path belongs to: by our own grammar, else the folder of the file.
pub fn channel(path: &str) -> &str {
    if let Some(live) = LivePath::parse(path) {
        return live.channel;
    }
    path.rsplit_once('/').map_or("", |(folder, _)| folder.trim_start_matches('/'))
}

/// The part of our own grammar that a path names, if it names one that an origin may hold.
pub fn is_part(path: &str) -> bool {
    LivePath::parse(path).is_some_and(|live| matches!(live.object, Object::Part(..)))
}
