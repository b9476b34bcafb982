// SPDX-License-Identifier: Apache-2.0
//! Who may use a server's API: whoever shows one of its tokens; where there are none anybody may read, and whoever works
//! on this machine may change.

use std::net::IpAddr;

use http::header::{AUTHORIZATION, FORWARDED, HOST, ORIGIN};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use serde::Serialize;
use subtle::{Choice, ConstantTimeEq};
use utoipa::ToSchema;

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There are tokens, and it shows none of them.
    #[error("expected one of api.tokens: Authorization: Bearer …")]
    Token,
    /// There are none, and it is not from here.
    #[error("expected a request from this machine while no api.tokens are configured, {0}")]
    Elsewhere(&'static str),
}

impl Refused {
    /// HTTP status. One of 401 wants a `WWW-Authenticate` of [`CHALLENGE`] beside it.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Token => StatusCode::UNAUTHORIZED,
            Self::Elsewhere(_) => StatusCode::FORBIDDEN,
        }
    }
}

/// What an API asks for (RFC 6750).
pub const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"api\"");

/// Whether a request may read.
///
/// # Errors
/// [`Refused::Token`] where one is missing.
pub fn read(tokens: &[String], headers: &HeaderMap) -> Result<(), Refused> {
    if tokens.is_empty() || has_token(tokens, headers) { Ok(()) } else { Err(Refused::Token) }
}

/// Whether a request of `peer` may change, or read what is not for everybody.
///
/// # Errors
/// [`Refused`] says why not.
pub fn change(tokens: &[String], peer: Option<IpAddr>, uri: &Uri, headers: &HeaderMap) -> Result<(), Refused> {
    if tokens.is_empty() { local(peer, uri, headers).map_err(Refused::Elsewhere) } else { read(tokens, headers) }
}

/// Whether `shown` is one of `keys`; it takes the same time whichever it is.
pub fn known(keys: &[String], shown: &str) -> bool {
    let found = keys.iter().fold(Choice::from(0), |found, key| found | key.as_bytes().ct_eq(shown.as_bytes()));
    found.into()
}

/// Tells a key apart without telling it: the beginning of its SHA-256.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(value_type = String, example = "2bb80d537b1d")]
pub struct KeyId(String);

impl KeyId {
    /// The name of `key`.
    pub fn of(key: &str) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, key.as_bytes());
        Self(digest.as_ref().iter().take(6).map(|byte| format!("{byte:02x}")).collect())
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn has_token(tokens: &[String], headers: &HeaderMap) -> bool {
    let shown = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|v| v.split_once(' '));
    shown.is_some_and(|(scheme, token)| scheme.eq_ignore_ascii_case("bearer") && known(tokens, token.trim()))
}

/// From this machine, and not on behalf of somebody else: a proxy here, or a page that a browser here was sent by
/// another site, whose name may even lead here.
fn local(peer: Option<IpAddr>, uri: &Uri, headers: &HeaderMap) -> Result<(), &'static str> {
    if !peer.is_some_and(|ip| ip.to_canonical().is_loopback()) {
        return Err("this one is from another");
    }
    if headers.contains_key(FORWARDED) || headers.contains_key("x-forwarded-for") || headers.contains_key("via") {
        return Err("this one came through a proxy");
    }
    let text = |value: Option<&HeaderValue>| value.and_then(|v| v.to_str().ok()).map(str::to_owned);
    let host = uri.authority().map(|a| a.as_str().to_owned()).or_else(|| text(headers.get(HOST)));
    if !host.as_deref().is_some_and(is_local_name) {
        return Err("this one is for another host");
    }
    match text(headers.get(ORIGIN)) {
        Some(origin) if !origin.split_once("://").is_some_and(|(_, host)| is_local_name(host)) => {
            Err("this one is of a page of another site")
        }
        _ => Ok(()),
    }
}

/// `localhost` or a loopback address, with or without a port.
fn is_local_name(authority: &str) -> bool {
    let Ok(authority) = authority.parse::<http::uri::Authority>() else { return false };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(peer: &str, headers: &[(&'static str, &str)]) -> Result<(), &'static str> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        local(Some(peer.parse().unwrap()), &Uri::from_static("/api/v1/reload"), &map)
    }

    #[test]
    fn only_whoever_works_on_this_machine_is_local() {
        assert_eq!(ask("127.0.0.1", &[("host", "127.0.0.1:8080")]), Ok(()));
        assert_eq!(ask("::1", &[("host", "[::1]:8080"), ("origin", "http://localhost:8080")]), Ok(()));
        assert_eq!(ask("::ffff:127.0.0.1", &[("host", "localhost")]), Ok(()));
        assert_eq!(ask("10.0.0.1", &[("host", "127.0.0.1")]), Err("this one is from another"));
        assert_eq!(
            ask("127.0.0.1", &[("host", "localhost"), ("x-forwarded-for", "10.0.0.1")]),
            Err("this one came through a proxy")
        );
        assert_eq!(ask("127.0.0.1", &[("host", "evil.example:8080")]), Err("this one is for another host"));
        assert_eq!(
            ask("127.0.0.1", &[("host", "localhost"), ("origin", "https://evil.example")]),
            Err("this one is of a page of another site")
        );
        assert!(ask("127.0.0.1", &[("host", "localhost"), ("origin", "null")]).is_err());
        assert!(local(None, &Uri::from_static("/"), &HeaderMap::new()).is_err());
    }

    #[test]
    fn any_token_admits_and_nothing_else() {
        let tokens = ["old".to_owned(), "new".to_owned()];
        let shows = |value: &'static str| {
            has_token(&tokens, &HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(value))]))
        };
        assert!(shows("Bearer new") && shows("bearer old"));
        assert!(!shows("Bearer ne") && !shows("Basic new") && !shows("new") && !has_token(&tokens, &HeaderMap::new()));
    }
}
