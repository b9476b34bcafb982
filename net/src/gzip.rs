// SPDX-License-Identifier: Apache-2.0
//! Gzip of small texts, deterministic: no time, no name in the header (RFC 1952, 2.3.1).

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

/// Compresses `text`; equal input gives equal output.
pub fn compress(text: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 4 + 64), Compression::new(5));
    // Writing into a Vec does not fail.
    let written = encoder.write_all(text).and_then(|()| encoder.finish());
    written.map_or_else(|_| Bytes::new(), Bytes::from)
}

/// True if an Accept-Encoding value admits gzip (RFC 9110, 12.5.3).
pub fn accepted(value: Option<&http::HeaderValue>) -> bool {
    let Some(text) = value.and_then(|v| v.to_str().ok()) else { return false };
    text.split(',').any(|item| {
        let mut fields = item.split(';').map(str::trim);
        let coding = fields.next().unwrap_or("");
        let refused = fields.any(|f| f.strip_prefix("q=").is_some_and(|q| q.trim_matches(['0', '.']).is_empty()));
        (coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip")) && !refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn compressed_text_reads_back_and_is_stable() {
        let text = "#EXTM3U\n".repeat(500);
        let packed = compress(text.as_bytes());
        assert!(packed.len() < text.len() / 10);
        assert_eq!(packed, compress(text.as_bytes()));
        let mut back = String::new();
        flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut back).unwrap();
        assert_eq!(back, text);
    }

    #[test]
    fn gzip_is_used_only_when_admitted() {
        let admits = |v: &'static str| accepted(Some(&http::HeaderValue::from_static(v)));
        assert!(admits("gzip"));
        assert!(admits("br, gzip;q=0.5"));
        assert!(!admits("gzip;q=0"));
        assert!(!admits("gzip; q=0.000, br"));
        assert!(!admits("identity"));
        assert!(!accepted(None));
    }
}
