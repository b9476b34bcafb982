// SPDX-License-Identifier: Apache-2.0
//! Figures out of many measurements.

/// Sorted measurements.
pub(crate) struct Sorted(Vec<f64>);

impl Sorted {
    pub(crate) fn new(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The value below which this share of them lies, 0 of none.
    pub(crate) fn at(&self, share: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        self.0.get((last as f64 * share) as usize).copied().unwrap_or(0.0)
    }

    /// p50, p99 and the largest, as cells of a table.
    pub(crate) fn cells(&self) -> [String; 3] {
        [0.5, 0.99, 1.0]
            .map(|share| if self.0.is_empty() { "none".to_owned() } else { format!("{:.2}", self.at(share)) })
    }
}

/// p50, p99 and the largest, in milliseconds.
pub(crate) fn percentiles(times: &[f64]) -> String {
    if times.is_empty() {
        return "none".to_owned();
    }
    let sorted = Sorted::new(times.to_vec());
    format!("p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms", sorted.at(0.5), sorted.at(0.99), sorted.at(1.0))
}
