// SPDX-License-Identifier: Apache-2.0
//! Which of several bodies of one track carry the same coding.
//!
//! Two outputs of one encoder bring equal samples and may relieve each other anywhere. Two encoders on one clock bring
//! equal times but other pictures: one may take over from the other only where a sample decodes alone.

use std::collections::VecDeque;

use crate::Sample;

/// Samples remembered: some ten seconds.
const RECENT_MAX: usize = 512;
/// Bodies remembered to be of another coding.
const OTHERS_MAX: usize = 16;
/// Bytes compared at either end of a sample.
const COMPARED_BYTES: usize = 64;

/// The samples taken lately and whom they came from.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    current: Option<u64>,
    others: VecDeque<u64>,
    /// Decode time and digest of samples taken, in order.
    recent: VecDeque<(i64, u64)>,
}

impl Candidates {
    /// True unless the body has been seen to carry another coding than the one under way.
    pub(super) fn may_continue(&self, body: u64) -> bool {
        self.current == Some(body) || !self.others.contains(&body)
    }

    /// A sample of `body` was taken.
    pub(super) fn taken(&mut self, body: u64, sample: &Sample) {
        let left = self.current.replace(body).filter(|left| *left != body);
        if let Some(left) = left
            && self.others.contains(&body)
        {
            self.others.clear();
            self.others.push_back(left);
        }
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back((sample.decode_time, digest(sample)));
    }

    /// A sample of `body` came for a time already taken: equal, or of another coding?
    pub(super) fn compare(&mut self, body: u64, sample: &Sample) {
        if self.current == Some(body) || self.others.contains(&body) {
            return;
        }
        let at = self.recent.partition_point(|(time, _)| *time < sample.decode_time);
        let differs =
            self.recent.get(at).is_some_and(|(time, known)| *time == sample.decode_time && *known != digest(sample));
        if differs {
            if self.others.len() == OTHERS_MAX {
                self.others.pop_front();
            }
            self.others.push_back(body);
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// FNV-1a of a sample's length and both its ends: enough to tell two encoders apart, cheap enough for every sample.
fn digest(sample: &Sample) -> u64 {
    let data = &sample.data;
    let head = &data[..data.len().min(COMPARED_BYTES)];
    let tail = &data[data.len().saturating_sub(COMPARED_BYTES)..];
    let length = (data.len() as u64).to_be_bytes();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in length.iter().chain(head).chain(tail) {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash
}
