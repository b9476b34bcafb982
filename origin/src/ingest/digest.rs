// SPDX-License-Identifier: Apache-2.0
//! Digest authentication of pushes (RFC 7616), the stream key as the password of any user: SHA-256, and MD5 for
//! encoders that know nothing else.
//!
//! Nothing is remembered of a nonce: it tells when it was made and proves that it was made here. Within its life a
//! request that was overheard can be sent again to the same path; where that matters, use TLS.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use headwater_media::UtcTime;
use http::HeaderValue;
use md5::{Digest, Md5};
use ring::hmac;
use ring::rand::SystemRandom;
use subtle::ConstantTimeEq;

/// The realm of every publishing point.
pub const REALM: &str = "ingest";
/// How long a nonce is good. An encoder that asks once a segment lives with one; then it is told that it is stale.
const NONCE_LIFE: Duration = Duration::from_secs(3_600);
const TIME_BYTES: usize = 8;
const PROOF_BYTES: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    Sha256,
    Md5,
}

impl Algorithm {
    fn hex(self, text: &str) -> String {
        match self {
            Self::Sha256 => hex(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()).as_ref()),
            Self::Md5 => hex(&Md5::digest(text.as_bytes())),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Makes nonces and knows its own.
#[derive(Debug)]
pub struct Nonces {
    secret: hmac::Key,
}

impl Nonces {
    /// A source of nonces that nobody else can make.
    pub fn new() -> Self {
        // Without random bytes from the system TLS could not begin either.
        let secret = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        Self { secret: secret.expect("the system gives random bytes") }
    }

    fn make(&self, now: UtcTime) -> String {
        let time = now.nanos().to_be_bytes();
        let proof = hmac::sign(&self.secret, &time);
        let mut bytes = time.to_vec();
        bytes.extend_from_slice(&proof.as_ref()[..PROOF_BYTES]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn is_fresh(&self, nonce: &str, now: UtcTime) -> bool {
        let Ok(bytes) = URL_SAFE_NO_PAD.decode(nonce) else { return false };
        let Some((time, proof)) = bytes.split_first_chunk::<TIME_BYTES>() else { return false };
        let made = UtcTime::from_nanos(i64::from_be_bytes(*time));
        let right = hmac::sign(&self.secret, time).as_ref()[..PROOF_BYTES].ct_eq(proof);
        bool::from(right) && made <= now && now.since(made) <= NONCE_LIFE
    }

    /// The challenges, best first as the RFC wants it. ffmpeg takes the last, which is the one it can answer.
    pub fn challenges(&self, now: UtcTime, stale: bool) -> Vec<HeaderValue> {
        let nonce = self.make(now);
        let stale = if stale { ", stale=true" } else { "" };
        let challenge = |algorithm: &str| {
            let text = format!(
                "Digest realm=\"{REALM}\", qop=\"auth\", algorithm={algorithm}, nonce=\"{nonce}\"{stale}, charset=UTF-8"
            );
            HeaderValue::from_str(&text).ok()
        };
        ["SHA-256", "MD5"].into_iter().filter_map(challenge).collect()
    }

    /// Checks the parameters of an `Authorization: Digest` for a request of `method` and `target`.
    pub fn check(&self, parameters: &str, method: &str, target: &str, keys: &[String], now: UtcTime) -> Verdict {
        let Some(shown) = Shown::parse(parameters) else { return Verdict::Wrong };
        if shown.realm != REALM || shown.uri != target || shown.qop != "auth" {
            return Verdict::Wrong;
        }
        let algorithm = match shown.algorithm.to_ascii_uppercase().as_str() {
            "SHA-256" => Algorithm::Sha256,
            "MD5" | "" => Algorithm::Md5,
            _ => return Verdict::Wrong,
        };
        let request = algorithm.hex(&format!("{method}:{}", shown.uri));
        let rest = format!("{}:{}:{}:auth:{request}", shown.nonce, shown.nc, shown.cnonce);
        let right = keys.iter().fold(subtle::Choice::from(0), |right, key| {
            let user = algorithm.hex(&format!("{}:{REALM}:{key}", shown.username));
            let expected = algorithm.hex(&format!("{user}:{rest}"));
            right | expected.as_bytes().ct_eq(shown.response.to_ascii_lowercase().as_bytes())
        });
        match (bool::from(right), self.is_fresh(&shown.nonce, now)) {
            (true, true) => Verdict::Right,
            (true, false) => Verdict::Stale,
            (false, _) => Verdict::Wrong,
        }
    }
}

impl Default for Nonces {
    fn default() -> Self {
        Self::new()
    }
}

/// What a Digest answer is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It proves one of the keys.
    Right,
    /// It does, by a nonce that is too old or another's: ask again.
    Stale,
    /// It does not.
    Wrong,
}

#[derive(Debug, Default)]
struct Shown {
    username: String,
    realm: String,
    nonce: String,
    uri: String,
    algorithm: String,
    qop: String,
    nc: String,
    cnonce: String,
    response: String,
}

impl Shown {
    /// Reads `name=value` and `name="value"`, separated by commas (RFC 9110, 11.2).
    fn parse(text: &str) -> Option<Self> {
        let mut shown = Self::default();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let (name, after) = rest.split_once('=')?;
            let (value, after) = match after.trim_start().strip_prefix('"') {
                Some(quoted) => unquote(quoted)?,
                None => {
                    let end = after.find(',').unwrap_or(after.len());
                    (after[..end].trim().to_owned(), &after[end..])
                }
            };
            let place = match name.trim().to_ascii_lowercase().as_str() {
                "username" => Some(&mut shown.username),
                "realm" => Some(&mut shown.realm),
                "nonce" => Some(&mut shown.nonce),
                "uri" => Some(&mut shown.uri),
                "algorithm" => Some(&mut shown.algorithm),
                "qop" => Some(&mut shown.qop),
                "nc" => Some(&mut shown.nc),
                "cnonce" => Some(&mut shown.cnonce),
                "response" => Some(&mut shown.response),
                _ => None,
            };
            if let Some(place) = place {
                *place = value;
            }
            rest = after.trim_start().trim_start_matches(',').trim_start();
        }
        Some(shown)
    }
}

/// A quoted string after its opening quote, and what follows it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(letters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UtcTime = UtcTime::from_nanos(1_700_000_000_000_000_000);

    fn answer(algorithm: Algorithm, name: &str, nonce: &str, key: &str) -> String {
        let user = algorithm.hex(&format!("encoder:{REALM}:{key}"));
        let request = algorithm.hex("PUT:/ingest/news/v0.cmfv?a=b");
        let response = algorithm.hex(&format!("{user}:{nonce}:00000001:c\"n:auth:{request}"));
        format!(
            "username=\"encoder\", realm=\"{REALM}\", nonce=\"{nonce}\", uri=\"/ingest/news/v0.cmfv?a=b\", {name}\
             response=\"{response}\", qop=auth, nc=00000001, cnonce=\"c\\\"n\", opaque=\"x, y\""
        )
    }

    fn check(nonces: &Nonces, shown: &str, now: UtcTime) -> Verdict {
        nonces.check(shown, "PUT", "/ingest/news/v0.cmfv?a=b", &["old".into(), "s3cret".into()], now)
    }

    #[test]
    fn the_examples_of_the_rfc_are_computed_alike() {
        for (algorithm, response) in [
            (Algorithm::Md5, "8ca523f5e9506fed4657c9700eebdbec"),
            (Algorithm::Sha256, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let user = algorithm.hex("Mufasa:http-auth@example.org:Circle of Life");
            let request = algorithm.hex("GET:/dir/index.html");
            let nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";
            let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
            assert_eq!(algorithm.hex(&format!("{user}:{nonce}:00000001:{cnonce}:auth:{request}")), response);
        }
    }

    #[test]
    fn any_of_the_keys_is_proved_by_either_algorithm() {
        let nonces = Nonces::new();
        let nonce = nonces.make(NOW);
        for (algorithm, name) in
            [(Algorithm::Sha256, "algorithm=SHA-256, "), (Algorithm::Md5, "algorithm=MD5, "), (Algorithm::Md5, "")]
        {
            assert_eq!(check(&nonces, &answer(algorithm, name, &nonce, "s3cret"), NOW), Verdict::Right, "{name}");
            assert_eq!(check(&nonces, &answer(algorithm, name, &nonce, "wrong"), NOW), Verdict::Wrong, "{name}");
        }
        let other = answer(Algorithm::Md5, "", &nonce, "s3cret").replace("v0.cmfv", "v1.cmfv");
        assert_eq!(check(&nonces, &other, NOW), Verdict::Wrong, "of another path");
    }

    #[test]
    fn a_nonce_that_is_old_or_of_another_process_is_stale() {
        let (nonces, others) = (Nonces::new(), Nonces::new());
        let nonce = nonces.make(NOW);
        let shown = answer(Algorithm::Md5, "", &nonce, "old");
        assert_eq!(check(&nonces, &shown, NOW + NONCE_LIFE), Verdict::Right);
        assert_eq!(check(&nonces, &shown, NOW + NONCE_LIFE + Duration::from_secs(1)), Verdict::Stale);
        assert_eq!(check(&others, &shown, NOW), Verdict::Stale);
        for nonce in ["", "AAAA", "not base64 !", &"A".repeat(4_000)] {
            assert_eq!(check(&nonces, &answer(Algorithm::Md5, "", nonce, "old"), NOW), Verdict::Stale, "{nonce}");
        }
    }

    #[test]
    fn any_text_is_read_without_harm() {
        let nonces = Nonces::new();
        for text in ["", "=", "username", "a=\"", "a=\"\\", "a=\"b\"c=d,,,", "uri=ü, response=\"\u{0}\""] {
            assert_eq!(check(&nonces, text, NOW), Verdict::Wrong, "{text:?}");
        }
    }
}
