// SPDX-License-Identifier: Apache-2.0
//! How any object of an origin is answered: type, validators, compression, ranges, methods, lifetimes, CORS.

use std::io::Read;

use headwater_manifests::rules::Rule;
use http::header;
use url::Url;

use super::client::{Answer, Ask, Client, MANIFEST_BYTES_MAX};
use super::report::Findings;

static HEAD: Rule = Rule::should("head-differs", "RFC 9110 9.3.2", "HEAD has the status and type of GET, and no body");
static ETAG: Rule = Rule::should("etag-missing", "RFC 9110 8.8.3", "objects have an ETag");
static NOT_MODIFIED: Rule =
    Rule::should("if-none-match", "RFC 9110 13.1.2", "a copy that is still good is not sent again: 304 to its ETag");
static COOKIE: Rule = Rule::should("cookie-set", "caching by URL", "no cookie is set");
static REDIRECTED: Rule = Rule::should("redirected", "caching by URL", "objects are where they are named");
static CORS: Rule =
    Rule::should("cors-missing", "Fetch, 3.2", "pages of other sites may read answers, errors among them");
static EXPOSED: Rule = Rule::should("cors-expose", "Fetch, 3.2", "pages of other sites may read Date and ETag");
static DATE: Rule = Rule::should("date-missing", "RFC 9110 6.6.1", "answers are dated");
static GZIP: Rule = Rule::should("gzip-missing", "rfc8216bis 6.2.1", "manifests are compressed for those who ask");
static GZIP_DIFFERS: Rule =
    Rule::must("gzip-broken", "RFC 9110 8.4", "a compressed manifest unpacks, and varies by Accept-Encoding");
static RANGE: Rule = Rule::should("range-ignored", "RFC 9110 14", "media is served in ranges");
static RANGE_DIFFERS: Rule = Rule::must("range-differs", "RFC 9110 14.4", "a range of an object is that slice of it");
static MEDIA_TYPE: Rule = Rule::must(
    "media-type",
    "rfc8216bis 4, 23009-1 annex C",
    "manifests have their media type, playlists that or their extension",
);
static LIFE_MANIFEST: Rule = Rule::should(
    "cache-control-manifest",
    "rfc8216bis appendix B.1, 6.2.1",
    "a manifest asked for without directives lives half a target duration at most, and is not forbidden to live",
);
static LIFE_BLOCKING: Rule = Rule::should(
    "cache-control-blocking",
    "rfc8216bis appendix B.1",
    "a blocking playlist lives up to six target durations, for its URL names its version",
);
static LIFE_MEDIA: Rule =
    Rule::should("cache-control-media", "rfc8216bis appendix B.1", "media lives six target durations at least");
static LIFE_ERROR: Rule = Rule::should(
    "cache-control-error",
    "rfc8216bis appendix B.1",
    "an error lives a target duration at most, one to a blocking request four",
);
static MISSING: Rule =
    Rule::must("missing-object", "rfc8216bis 6.2.6", "what is neither there nor to come soon is not found: 404 or 410");

/// The rules of this file.
pub(super) static RULES: &[&Rule] = &[
    &HEAD,
    &ETAG,
    &NOT_MODIFIED,
    &COOKIE,
    &REDIRECTED,
    &CORS,
    &EXPOSED,
    &DATE,
    &GZIP,
    &GZIP_DIFFERS,
    &RANGE,
    &RANGE_DIFFERS,
    &MEDIA_TYPE,
    &LIFE_MANIFEST,
    &LIFE_BLOCKING,
    &LIFE_MEDIA,
    &LIFE_ERROR,
    &MISSING,
];

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Playlist,
    Mpd,
    Media,
}

/// How long an answer may be kept, in seconds; `None` if it does not say.
fn life(answer: &Answer) -> Option<u64> {
    let control = answer.header("cache-control").to_ascii_lowercase();
    if control.contains("no-store") || control.contains("no-cache") {
        return Some(0);
    }
    let directive = |name: &str| {
        let mut values = control.split(',').filter_map(|d| d.trim().strip_prefix(name)?.strip_prefix('='));
        values.next_back().and_then(|v| v.trim_matches('"').parse().ok())
    };
    directive("s-maxage").or_else(|| directive("max-age"))
}

/// Looks at one object in every way a cache or a player may ask for it.
pub(super) async fn object(client: &Client, url: &Url, class: Class, target_seconds: u64, findings: &mut Findings) {
    let ask = || if class == Class::Media { Ask::media() } else { Ask::manifest() };
    let answer = match client.ask(url, ask()).await {
        Ok(answer) => answer,
        Err(error) => return findings.note(error.to_string()),
    };
    findings.verdict.at(url.path());
    described(&answer, class, findings);
    if !answer.is_ok() {
        return;
    }
    lifetime(&answer, class, target_seconds, findings);
    if let Ok(head) = client.ask(url, ask().head()).await {
        let same = head.status == answer.status && head.header("content-type") == answer.header("content-type");
        let length = head.header("content-length");
        let length_right = class != Class::Media || length.is_empty() || length == answer.body.len().to_string();
        findings.verdict.judge(&HEAD, same && length_right, || {
            let of = |a: &Answer| format!("{} {} {}", a.status, a.header("content-type"), a.header("content-length"));
            (of(&answer), of(&head))
        });
    }
    let tag = answer.header("etag").to_owned();
    findings.verdict.judge(&ETAG, !tag.is_empty(), || ("an ETag", "none"));
    if !tag.is_empty() {
        conditional(client, url, ask(), &tag, findings).await;
    }
    match class {
        Class::Media => range(client, url, &answer, findings).await,
        Class::Playlist | Class::Mpd => compressed(client, url, findings).await,
    }
}

fn described(answer: &Answer, class: Class, findings: &mut Findings) {
    let verdict = &mut findings.verdict;
    verdict.judge(&COOKIE, answer.header("set-cookie").is_empty(), || ("none", answer.header("set-cookie")));
    verdict.judge(&REDIRECTED, answer.redirects == 0, || {
        ("the object".to_owned(), format!("a redirection to {}", answer.url))
    });
    verdict.judge(&DATE, !answer.header("date").is_empty(), || ("Date", "none"));
    cors(answer, findings);
    let kind = answer.header("content-type").split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    let right = match class {
        Class::Playlist => {
            let typed = ["application/vnd.apple.mpegurl", "application/x-mpegurl", "audio/mpegurl", "audio/x-mpegurl"];
            typed.contains(&kind.as_str()) || [".m3u8", ".m3u"].iter().any(|end| answer.url.path().ends_with(end))
        }
        Class::Mpd => kind == "application/dash+xml" || answer.url.path().ends_with(".mpd"),
        Class::Media => true,
    };
    if class != Class::Media {
        findings.verdict.judge(&MEDIA_TYPE, right, || ("a manifest's media type", kind.clone()));
    }
}

/// Judges what a page of another site may read of an answer.
pub(super) fn cors(answer: &Answer, findings: &mut Findings) {
    let allowed = answer.header("access-control-allow-origin");
    findings.verdict.judge(&CORS, matches!(allowed, "*" | "https://player.example"), || {
        ("Access-Control-Allow-Origin".to_owned(), format!("{allowed:?} with {}", answer.status))
    });
    if !allowed.is_empty() {
        let exposed = answer.header("access-control-expose-headers").to_ascii_lowercase();
        let enough = exposed.trim() == "*" || (exposed.contains("date") && exposed.contains("etag"));
        findings
            .verdict
            .judge(&EXPOSED, enough, || ("Date and ETag in Access-Control-Expose-Headers", exposed.clone()));
    }
}

fn lifetime(answer: &Answer, class: Class, target_seconds: u64, findings: &mut Findings) {
    let life = life(answer);
    let told = || format!("{:?}", answer.header("cache-control"));
    match class {
        Class::Media => findings.verdict.judge(&LIFE_MEDIA, life.is_some_and(|l| l >= 6 * target_seconds), || {
            (format!("max-age of at least {}", 6 * target_seconds), told())
        }),
        Class::Playlist | Class::Mpd => {
            let stored = !answer.header("cache-control").contains("no-store");
            let most = target_seconds.div_ceil(2);
            findings.verdict.judge(&LIFE_MANIFEST, stored && life.is_some_and(|l| l <= most), || {
                (format!("max-age of at most {most}"), told())
            });
        }
    }
}

/// Judges the life of an answer to a blocking request.
pub(super) fn blocking_lifetime(answer: &Answer, target_seconds: u64, findings: &mut Findings) {
    let most = 6 * target_seconds;
    findings.verdict.judge(&LIFE_BLOCKING, life(answer).is_some_and(|l| l > 0 && l <= most), || {
        (format!("max-age of 1 to {most}"), format!("{:?}", answer.header("cache-control")))
    });
}

/// Judges the life of an error.
pub(super) fn error_lifetime(answer: &Answer, most_seconds: u64, findings: &mut Findings) {
    findings.verdict.judge(&LIFE_ERROR, life(answer).is_some_and(|l| l <= most_seconds.max(1)), || {
        (
            format!("max-age of at most {most_seconds} with {}", answer.status),
            format!("{:?}", answer.header("cache-control")),
        )
    });
    cors(answer, findings);
}

async fn conditional(client: &Client, url: &Url, ask: Ask, tag: &str, findings: &mut Findings) {
    let Ok(again) = client.ask(url, ask.with(header::IF_NONE_MATCH, tag)).await else { return };
    // Another version may have come between.
    let right = again.status.as_u16() == 304 || (again.is_ok() && again.header("etag") != tag);
    findings
        .verdict
        .judge(&NOT_MODIFIED, right, || ("304".to_owned(), format!("{} with {}", again.status, again.header("etag"))));
}

async fn compressed(client: &Client, url: &Url, findings: &mut Findings) {
    let Ok(zipped) = client.ask(url, Ask::manifest().with(header::ACCEPT_ENCODING, "gzip")).await else { return };
    if !zipped.is_ok() {
        return;
    }
    let coded = zipped.header("content-encoding") == "gzip";
    findings.verdict.judge(&GZIP, coded, || ("Content-Encoding: gzip", "none"));
    if coded {
        let mut text = Vec::new();
        let unpack =
            flate2::read::GzDecoder::new(&zipped.body[..]).take(MANIFEST_BYTES_MAX as u64).read_to_end(&mut text);
        let manifest = text.starts_with(b"#EXTM3U") || text.contains(&b'<');
        let varies = zipped.header("vary").to_ascii_lowercase().contains("accept-encoding");
        findings.verdict.judge(&GZIP_DIFFERS, unpack.is_ok() && manifest && varies, || {
            (
                "a manifest in gzip, Vary: Accept-Encoding".to_owned(),
                format!("Vary: {:?}, {} bytes", zipped.header("vary"), text.len()),
            )
        });
    }
}

async fn range(client: &Client, url: &Url, whole: &Answer, findings: &mut Findings) {
    let length = whole.body.len() as u64;
    if length < 4 {
        return;
    }
    let (offset, count) = (length / 4, length / 2);
    let Ok(part) = client.ask(url, Ask::media().range(offset, count)).await else { return };
    findings.verdict.judge(&RANGE, part.status.as_u16() == 206, || ("206".to_owned(), part.status.to_string()));
    if part.status.as_u16() == 206 {
        let (from, to) = (usize::try_from(offset).unwrap_or(0), usize::try_from(offset + count).unwrap_or(0));
        findings.verdict.judge(&RANGE_DIFFERS, part.body == whole.body.slice(from..to), || {
            (format!("{count} bytes from {offset}"), format!("{} others", part.body.len()))
        });
    }
}

/// Asks for an object that is far from being there: the last number in the name, a thousand further.
pub(super) async fn far_future(client: &Client, url: &Url, target_seconds: u64, findings: &mut Findings) {
    let Some(far) = further(url) else { return };
    let Ok(answer) = client.ask(&far, Ask::media()).await else { return };
    findings.verdict.at(far.path());
    let missing = matches!(answer.status.as_u16(), 404 | 410);
    findings.verdict.judge(&MISSING, missing, || ("404".to_owned(), answer.status.to_string()));
    if missing {
        error_lifetime(&answer, target_seconds, findings);
    }
}

fn further(url: &Url) -> Option<Url> {
    let (folder, name) = url.path().rsplit_once('/')?;
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let end = stem.rfind(|c: char| c.is_ascii_digit())? + 1;
    let begin = stem[..end].rfind(|c: char| !c.is_ascii_digit()).map_or(0, |at| at + 1);
    let number: u64 = stem[begin..end].parse().ok()?;
    let width = end - begin;
    let dot = if extension.is_empty() { "" } else { "." };
    let mut far = url.clone();
    far.set_path(&format!(
        "{folder}/{}{:0width$}{}{dot}{extension}",
        &stem[..begin],
        number.checked_add(1_000)?,
        &stem[end..]
    ));
    Some(far)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_far_ahead_has_a_name_like_the_others() {
        let far = |text: &str| further(&Url::parse(text).unwrap()).map(|url| url.to_string());
        assert_eq!(far("http://a/live/v0/41.m4s?x=1").as_deref(), Some("http://a/live/v0/1041.m4s?x=1"));
        assert_eq!(far("http://a/seg_00041_x.ts").as_deref(), Some("http://a/seg_01041_x.ts"));
        assert_eq!(far("http://a/segment.m4s"), None);
    }
}
