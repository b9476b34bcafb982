// SPDX-License-Identifier: Apache-2.0
//! How many hedges may be made: a share of the requests, and a burst. A pair of slow origins that is asked twice for
//! everything gets slower still.

/// Requests for each hedge, in the long run.
const REQUESTS_PER_HEDGE: u32 = 10;
/// Hedges that may come at once.
const BURST: u32 = 50;

/// Hedges in hand, in requests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    requests: u32,
}

impl Default for Budget {
    fn default() -> Self {
        Self { requests: BURST * REQUESTS_PER_HEDGE }
    }
}

impl Budget {
    /// A request was made.
    pub(super) fn earn(&mut self) {
        self.requests = (self.requests + 1).min(BURST * REQUESTS_PER_HEDGE);
    }

    /// Takes a hedge, if there is one.
    pub(super) fn spend(&mut self) -> bool {
        let rest = self.requests.checked_sub(REQUESTS_PER_HEDGE);
        self.requests = rest.unwrap_or(self.requests);
        rest.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn past_the_burst_one_request_in_ten_is_hedged() {
        let mut budget = Budget::default();
        let hedged = (0..10_000)
            .filter(|_| {
                budget.earn();
                budget.spend()
            })
            .count();
        assert!((1_000..=1_000 + BURST as usize + 6).contains(&hedged), "{hedged}");
    }
}
