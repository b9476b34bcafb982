// SPDX-License-Identifier: Apache-2.0
//! Requests signed with a shared key, so that a server answers those who have it and nobody else.
//!
//! `headwater-signature: t=<seconds>,v1=<hex>`, where the hex is HMAC-SHA256 over the time, the method and the target,
//! a line each. It says who asks, not that nobody asks twice: within the span in which clocks may differ a signature can
//! be used again for the same target, which brings the same public bytes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, Method};
use ring::hmac;

/// The field that a signature stands in.
pub const HEADER: HeaderName = HeaderName::from_static("headwater-signature");

/// How far the clocks of signer and verifier may be apart.
pub const SKEW_MAX: Duration = Duration::from_secs(60);

/// A shared key.
#[derive(Clone, Debug)]
pub struct Key {
    key: hmac::Key,
}

/// Why a request was not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No signature.
    #[error("expected a headwater-signature field, there is none")]
    Absent,
    /// Not the form of one.
    #[error("expected t=<seconds>,v1=<64 hex digits> in headwater-signature")]
    Malformed,
    /// Made too long ago, or ahead of time.
    #[error("expected a signature of this minute, got one {0} seconds away: are the clocks right?")]
    Skewed(u64),
    /// Made with another key, or for another request.
    #[error("expected a signature of this request by a key that is known here")]
    Wrong,
}

impl Key {
    /// A key from its text.
    pub fn new(text: &str) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes()) }
    }

    /// The field's value for a request for `target` (path and query) made `now`.
    pub fn sign(&self, method: &Method, target: &str, now: SystemTime) -> HeaderValue {
        let seconds = seconds(now);
        let mut text = format!("t={seconds},v1=");
        for byte in hmac::sign(&self.key, &message(method, target, seconds)).as_ref() {
            text.push(char::from(HEX[usize::from(byte >> 4)]));
            text.push(char::from(HEX[usize::from(byte & 15)]));
        }
        HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("t=0"))
    }
}

/// Believes a request that one of `keys` signed within [`SKEW_MAX`] of `now`; several keys let one be replaced.
///
/// # Errors
/// [`Error`] says what was wrong; in the same time whatever differs from the right signature.
pub fn verify(
    keys: &[Key],
    method: &Method,
    target: &str,
    headers: &HeaderMap,
    field: &HeaderName,
    now: SystemTime,
) -> Result<(), Error> {
    let value = headers.get(field).ok_or(Error::Absent)?;
    let (made, digest) = read(value).ok_or(Error::Malformed)?;
    let apart = seconds(now).abs_diff(made);
    if apart > SKEW_MAX.as_secs() {
        return Err(Error::Skewed(apart));
    }
    let message = message(method, target, made);
    let known = keys.iter().any(|key| hmac::verify(&key.key, &message, &digest).is_ok());
    if known { Ok(()) } else { Err(Error::Wrong) }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

fn seconds(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn message(method: &Method, target: &str, seconds: u64) -> Vec<u8> {
    format!("{seconds}\n{method}\n{target}").into_bytes()
}

fn read(value: &HeaderValue) -> Option<(u64, [u8; 32])> {
    let (time, digest) = value.to_str().ok()?.split_once(',')?;
    let digits = time.strip_prefix("t=")?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let made = digits.parse().ok()?;
    let hex = digest.strip_prefix("v1=")?.as_bytes();
    let mut bytes = [0; 32];
    if hex.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some((made, bytes))
}

fn nibble(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TARGET: &str = "/live/news/1080p/7.m4s?a=b";

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn verified(keys: &[Key], method: &Method, target: &str, value: HeaderValue, now: u64) -> Result<(), Error> {
        let headers = HeaderMap::from_iter([(HEADER, value)]);
        verify(keys, method, target, &headers, &HEADER, at(now))
    }

    #[test]
    fn a_signature_is_what_the_guide_says() {
        // printf '1700000000\nGET\n/live/news/1080p/7.m4s?a=b' | openssl dgst -sha256 -hmac secret
        let expected = "t=1700000000,v1=dfd43931beb8aeb8bf2413a27c5d5a908d4152722dd0feda96a0baac7d55e82f";
        let value = Key::new("secret").sign(&Method::GET, TARGET, at(1_700_000_000));
        assert_eq!(value, expected);
    }

    #[test]
    fn a_request_signed_with_any_key_in_use_is_believed() {
        let keys = [Key::new("new"), Key::new("old")];
        for key in &keys {
            let value = key.sign(&Method::GET, TARGET, at(1_000));
            for now in [940, 1_000, 1_060] {
                assert_eq!(verified(&keys, &Method::GET, TARGET, value.clone(), now), Ok(()));
            }
        }
    }

    #[test]
    fn another_request_another_key_and_another_time_are_not_believed() {
        let key = [Key::new("secret")];
        let value = key[0].sign(&Method::GET, TARGET, at(1_000));
        let verified = |keys: &[Key], method, target, now| verified(keys, method, target, value.clone(), now);
        assert_eq!(verified(&key, &Method::HEAD, TARGET, 1_000), Err(Error::Wrong));
        assert_eq!(verified(&key, &Method::GET, "/live/news/1080p/8.m4s", 1_000), Err(Error::Wrong));
        assert_eq!(verified(&[Key::new("other")], &Method::GET, TARGET, 1_000), Err(Error::Wrong));
        assert_eq!(verified(&[], &Method::GET, TARGET, 1_000), Err(Error::Wrong));
        assert_eq!(verified(&key, &Method::GET, TARGET, 1_061), Err(Error::Skewed(61)));
        assert_eq!(verified(&key, &Method::GET, TARGET, 939), Err(Error::Skewed(61)));
        let none = verify(&key, &Method::GET, TARGET, &HeaderMap::new(), &HEADER, at(1_000));
        assert_eq!(none, Err(Error::Absent));
    }

    proptest! {
        #[test]
        fn whatever_stands_in_the_field_is_told_apart_from_a_signature(text in "[ -~]{0,100}", now in 0_u64..2_000) {
            let value = HeaderValue::from_str(&text).unwrap();
            prop_assert!(verified(&[Key::new("secret")], &Method::GET, TARGET, value, now).is_err());
        }

        #[test]
        fn a_signature_with_one_digit_changed_is_none(at_digit in 0_usize..64, digit in 0_usize..16) {
            let key = [Key::new("secret")];
            let text = key[0].sign(&Method::GET, TARGET, at(1_000)).to_str().unwrap().to_owned();
            let place = text.find("v1=").unwrap() + 3 + at_digit;
            let mut changed = text.clone();
            changed.replace_range(place..=place, &char::from(HEX[digit]).to_string());
            let verdict = verified(&key, &Method::GET, TARGET, HeaderValue::from_str(&changed).unwrap(), 1_000);
            prop_assert_eq!(verdict.is_ok(), changed == text);
        }
    }
}
