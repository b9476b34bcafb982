// SPDX-License-Identifier: Apache-2.0
//! Gzip of small texts, deterministic: no time, no name in the header (RFC 1952, 2.3.1).

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzDecoder, GzEncoder};

/// Compresses `text`; equal input gives equal output.
pub fn compress(text: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 4 + 64), Compression::new(5));
    // Writing into a Vec does not fail.
    let written = encoder.write_all(text).and_then(|()| encoder.finish());
    written.map_or_else(|_| Bytes::new(), Bytes::from)
}

/// Compressed bytes taken at a time: a bomb of a thousandfold unfolds in steps of a few megabytes.
const STEP_BYTES: usize = 4 * 1024;

/// Unfolds a gzip body piece by piece.
#[derive(Debug)]
pub struct Inflater {
    decoder: GzDecoder<Vec<u8>>,
    pending: Bytes,
}

impl Default for Inflater {
    fn default() -> Self {
        Self { decoder: GzDecoder::new(Vec::new()), pending: Bytes::new() }
    }
}

impl Inflater {
    /// Takes the next compressed bytes; call [`Self::unfold`] until it returns `None`.
    pub fn push(&mut self, bytes: Bytes) {
        debug_assert!(self.pending.is_empty(), "the last bytes are unfolded first");
        self.pending = bytes;
    }

    /// The next unfolded bytes of what was pushed.
    ///
    /// # Errors
    /// What the decoder says of bytes that are not gzip.
    pub fn unfold(&mut self) -> std::io::Result<Option<Bytes>> {
        while !self.pending.is_empty() {
            let step = self.pending.split_to(self.pending.len().min(STEP_BYTES));
            self.decoder.write_all(&step)?;
            let unfolded = std::mem::take(self.decoder.get_mut());
            if !unfolded.is_empty() {
                return Ok(Some(unfolded.into()));
            }
        }
        Ok(None)
    }

    /// What is left at the end of the body.
    ///
    /// # Errors
    /// If the body ended early or its checksum is wrong.
    pub fn finish(mut self) -> std::io::Result<Bytes> {
        self.decoder.try_finish()?;
        Ok(std::mem::take(self.decoder.get_mut()).into())
    }
}

/// True if an Accept-Encoding value admits gzip (RFC 9110, 12.5.3).
pub fn accepted(value: Option<&http::HeaderValue>) -> bool {
    value.and_then(|v| v.to_str().ok()).is_some_and(admitted)
}

/// The same of the value's text.
pub fn admitted(text: &str) -> bool {
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
    fn a_compressed_body_unfolds_however_it_is_cut() {
        let text = "moof".repeat(50_000);
        let packed = compress(text.as_bytes());
        for cut in [1, 7, 4_096, packed.len()] {
            let (mut inflater, mut back) = (Inflater::default(), Vec::new());
            for piece in packed.chunks(cut) {
                inflater.push(Bytes::copy_from_slice(piece));
                while let Some(bytes) = inflater.unfold().unwrap() {
                    back.extend_from_slice(&bytes);
                }
            }
            back.extend_from_slice(&inflater.finish().unwrap());
            assert!(back == text.as_bytes(), "cut {cut}");
        }
        let mut junk = Inflater::default();
        junk.push(Bytes::from_static(b"not gzip at all"));
        assert!(junk.unfold().is_err());
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
