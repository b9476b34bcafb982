// SPDX-License-Identifier: Apache-2.0
//! Signed URLs: a query parameter that says what may be fetched, until when and from where, and a signature of that.
//!
//! `hwt=EXPIRY~LENGTH~NETWORK~SIGNATURE`: the second since 1970 from which it is worthless; how many bytes of the path it
//! is for, which are the whole path or end with a slash; a network, or nothing for any; HMAC-SHA256 in base64url without
//! padding, over `hwt1`, EXPIRY, those bytes of the path and NETWORK, a line feed between each two. The tilde and the
//! rest need no encoding in a query.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use headwater_net::Network;
use ring::hmac;

/// The query parameter.
pub const PARAMETER: &str = "hwt";

/// Keys that tokens are made with; any one of them admits, so that a key can be replaced while tokens of the old one
/// are about.
#[derive(Debug)]
pub struct Keys(Vec<hmac::Key>);

impl Keys {
    /// No key: nothing asks for a token.
    pub const NONE: Self = Self(Vec::new());

    /// Keys as they are configured.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a String>) -> Self {
        Self(secrets.into_iter().map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes())).collect())
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True if the query has one token, and that admits `peer` to `path` at `now`.
    ///
    /// Signatures are compared in constant time, and before anything that they cover is looked at.
    pub fn admit(&self, path: &str, query: &str, peer: IpAddr, now: SystemTime) -> bool {
        let mut tokens = query.split('&').filter_map(value);
        let (Some(token), None) = (tokens.next(), tokens.next()) else { return false };
        self.check(token, path, peer, now).is_some()
    }

    fn check(&self, token: &str, path: &str, peer: IpAddr, now: SystemTime) -> Option<()> {
        let mut fields = token.split('~');
        let (expiry, length, network) = (fields.next()?, fields.next()?, fields.next()?);
        let signature = URL_SAFE_NO_PAD.decode(fields.next()?).ok()?;
        let prefix = path.get(..length.parse().ok()?)?;
        if fields.next().is_some() || !(prefix == path || prefix.ends_with('/')) {
            return None;
        }
        let said = text(expiry, prefix, network);
        // NB: every key is tried, so that time does not tell which one it was.
        let signed = self.0.iter().filter(|key| hmac::verify(key, said.as_bytes(), &signature).is_ok()).count() > 0;
        let seconds = now.duration_since(UNIX_EPOCH).ok()?.as_secs();
        let alive = seconds < expiry.parse().ok()?;
        let here = network.is_empty() || network.parse::<Network>().is_ok_and(|network| network.contains(peer));
        (signed && alive && here).then_some(())
    }
}

/// Makes the value of a token for every path that begins with `prefix`, which is a whole path or ends with a slash.
pub fn sign(secret: &str, prefix: &str, expiry: u64, network: Option<Network>) -> String {
    let network = network.map(|network| network.to_string()).unwrap_or_default();
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signature = hmac::sign(&key, text(&expiry.to_string(), prefix, &network).as_bytes());
    format!("{expiry}~{}~{network}~{}", prefix.len(), URL_SAFE_NO_PAD.encode(signature))
}

/// A query without its tokens: what keys are made of, and what origins see.
pub fn strip(query: &str) -> Cow<'_, str> {
    if !query.split('&').any(|parameter| value(parameter).is_some()) {
        return Cow::Borrowed(query);
    }
    let rest: Vec<&str> = query.split('&').filter(|parameter| value(parameter).is_none()).collect();
    Cow::Owned(rest.join("&"))
}

fn value(parameter: &str) -> Option<&str> {
    parameter.strip_prefix(PARAMETER)?.strip_prefix('=')
}

fn text(expiry: &str, prefix: &str, network: &str) -> String {
    format!("hwt1\n{expiry}\n{prefix}\n{network}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    const EXPIRY: u64 = 1_800_000_000;
    const PEER: &str = "192.0.2.7";

    fn keys(secrets: &[&str]) -> Keys {
        let secrets: Vec<String> = secrets.iter().map(|secret| (*secret).to_owned()).collect();
        Keys::new(&secrets)
    }

    fn admitted(keys: &Keys, path: &str, query: &str) -> bool {
        keys.admit(path, query, PEER.parse().unwrap(), UNIX_EPOCH + Duration::from_secs(EXPIRY - 1))
    }

    /// The vector of docs/reference/tokens.md, made with another implementation.
    #[test]
    fn a_token_is_what_the_reference_says() {
        let token = "1800000000~11~~aaSvP0XwBTbD_UCEwPRVvgN2jZrrOFHAJwtJD1naBPg";
        assert_eq!(sign("a long random text", "/live/news/", EXPIRY, None), token);
        assert!(admitted(&keys(&["a long random text"]), "/live/news/video/7.m4s", &format!("hwt={token}")));
        let token = "1800000000~21~192.0.2.0/24~yzBffT1Vk9JPR3Qy5S85E_th_v6uRqM-iZcsd_-l6B8";
        let network = "192.0.2.0/24".parse().ok();
        assert_eq!(sign("a long random text", "/live/news/index.m3u8", EXPIRY, network), token);
        assert!(admitted(&keys(&["a long random text"]), "/live/news/index.m3u8", &format!("x=1&hwt={token}&y=2")));
    }

    #[test]
    fn a_token_admits_to_what_it_is_for() {
        let keys = keys(&["new", "old"]);
        let of = |secret: &str, prefix: &str| format!("hwt={}", sign(secret, prefix, EXPIRY, None));
        assert!(admitted(&keys, "/live/news/1.m4s", &of("new", "/live/news/")));
        assert!(
            admitted(&keys, "/live/news/1.m4s", &of("old", "/live/news/")),
            "keys are replaced one after the other"
        );
        assert!(admitted(&keys, "/live/news/1.m4s", &of("new", "/live/news/1.m4s")));
        assert!(admitted(&keys, "/live/news/1.m4s", &of("new", "/")));
        assert!(!admitted(&keys, "/live/news/1.m4s", &of("other", "/live/news/")));
        assert!(!admitted(&keys, "/live/sport/1.m4s", &of("new", "/live/news/")));
        assert!(!admitted(&keys, "/live/news2/1.m4s", &of("new", "/live/news")), "a name that begins alike is another");
        assert!(!admitted(&keys, "/live/", &of("new", "/live/news/")));
        assert!(!admitted(&keys, "/live/news/1.m4s", ""));
        let token = of("new", "/live/news/");
        assert!(!admitted(&keys, "/live/news/1.m4s", &format!("{token}&{token}")), "one of two could be anybody's");
    }

    #[test]
    fn a_token_ends_and_stays_within_its_network() {
        let keys = keys(&["key"]);
        let admit = |network: Option<&str>, peer: &str, seconds| {
            let token = sign("key", "/", EXPIRY, network.map(|n| n.parse().unwrap()));
            keys.admit("/x", &format!("hwt={token}"), peer.parse().unwrap(), UNIX_EPOCH + Duration::from_secs(seconds))
        };
        assert!(admit(None, PEER, 0) && admit(None, PEER, EXPIRY - 1));
        assert!(!admit(None, PEER, EXPIRY) && !admit(None, PEER, EXPIRY + 1));
        assert!(admit(Some("192.0.2.0/24"), PEER, 0) && admit(Some("192.0.2.0/24"), "::ffff:192.0.2.9", 0));
        assert!(!admit(Some("192.0.2.0/24"), "192.0.3.7", 0) && !admit(Some("192.0.2.0/24"), "2001:db8::1", 0));
        assert!(admit(Some("2001:db8::/32"), "2001:db8::1", 0));
    }

    #[test]
    fn whatever_is_changed_is_worthless() {
        let keys = keys(&["key"]);
        let token = sign("key", "/a/", EXPIRY, Some("192.0.2.0/24".parse().unwrap()));
        assert!(admitted(&keys, "/a/b", &format!("hwt={token}")));
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'1' { b'2' } else { b'1' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(!admitted(&keys, "/a/b", &format!("hwt={changed}")), "{changed}");
        }
        for changed in [format!("{token}~"), format!("{token}="), token.replace('~', "%7E"), format!("+{token}")] {
            assert!(!admitted(&keys, "/a/b", &format!("hwt={changed}")), "{changed}");
        }
    }

    #[test]
    fn a_query_loses_its_tokens_and_nothing_else() {
        for (query, rest) in [
            ("", ""),
            ("a=1", "a=1"),
            ("hwt=x", ""),
            ("hwt=x&a=1", "a=1"),
            ("a=1&hwt=x", "a=1"),
            ("a=1&hwt=x&b=2&hwt=y", "a=1&b=2"),
            ("hwt", "hwt"),
            ("ahwt=x&hwtb=y", "ahwt=x&hwtb=y"),
            ("&&", "&&"),
        ] {
            assert_eq!(strip(query), rest, "{query}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_a_token(path in "/[a-z/\u{e9}]{0,8}", token in "[0-9~A-Za-z_/.-]{0,40}") {
            let query = format!("hwt={token}");
            prop_assert!(!admitted(&keys(&["key"]), &path, &query));
        }
    }
}
