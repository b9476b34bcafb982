// SPDX-License-Identifier: Apache-2.0
//! Numbers with their units, as people read them: three digits and a prefix.

use serde::{Deserialize, Serialize};

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Bits per second.
    BitsPerSecond,
    /// Requests per second.
    RequestsPerSecond,
    /// Bytes.
    Bytes,
    /// Things.
    Count,
    /// Thousandths of a whole.
    Permille,
    /// Milliseconds.
    Milliseconds,
    /// Thousandths of a processor.
    Millicores,
}

impl Unit {
    /// A number of it in words.
    pub fn show(self, value: u64) -> String {
        match self {
            Self::BitsPerSecond => scaled(value, "b/s"),
            Self::RequestsPerSecond => scaled(value, "/s"),
            Self::Bytes => scaled(value, "B"),
            Self::Count => scaled(value, ""),
            Self::Permille => format!("{}.{} %", value / 10, value % 10),
            Self::Milliseconds => milliseconds(value),
            Self::Millicores => format!("{}.{:02} cores", value / 1_000, value % 1_000 / 10),
        }
    }
}

/// Three digits with the prefix that leaves as many before the point as there must be.
fn scaled(value: u64, unit: &str) -> String {
    const PREFIXES: [&str; 7] = ["", "k", "M", "G", "T", "P", "E"];
    let mut scale = 1_u64;
    let mut prefix = 0;
    while value / scale >= 1_000 {
        scale = scale.saturating_mul(1_000);
        prefix += 1;
    }
    let name = format!("{}{unit}", PREFIXES[prefix]);
    // Counts of nothing but themselves have no space behind them; "48", "1.2 k".
    let space = if name.is_empty() || name.starts_with('/') { "" } else { " " };
    if prefix == 0 {
        return format!("{value}{space}{name}");
    }
    let (whole, thousandths) = (value / scale, value % scale / (scale / 1_000));
    match whole {
        100.. => format!("{whole}{space}{name}"),
        10.. => format!("{whole}.{}{space}{name}", thousandths / 100),
        _ => format!("{whole}.{:02}{space}{name}", thousandths / 10),
    }
}

fn milliseconds(value: u64) -> String {
    let seconds = value / 1_000;
    match seconds {
        0 => format!("{value} ms"),
        1..60 => format!("{seconds}.{} s", value % 1_000 / 100),
        60..3_600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_three_digits_and_a_prefix() {
        for (unit, value, text) in [
            (Unit::BitsPerSecond, 0, "0 b/s"),
            (Unit::BitsPerSecond, 999, "999 b/s"),
            (Unit::BitsPerSecond, 1_234_567_890_123, "1.23 Tb/s"),
            (Unit::BitsPerSecond, u64::MAX, "18.4 Eb/s"),
            (Unit::RequestsPerSecond, 420, "420/s"),
            (Unit::RequestsPerSecond, 42_000, "42.0 k/s"),
            (Unit::Bytes, 150_000_000, "150 MB"),
            (Unit::Count, 48, "48"),
            (Unit::Count, 65_536, "65.5 k"),
            (Unit::Permille, 987, "98.7 %"),
            (Unit::Milliseconds, 350, "350 ms"),
            (Unit::Milliseconds, 59_960, "59.9 s"),
            (Unit::Milliseconds, 61_000, "1 min 01 s"),
            (Unit::Milliseconds, 5_400_000, "1 h 30 min"),
            (Unit::Millicores, 2_340, "2.34 cores"),
        ] {
            assert_eq!(unit.show(value), text);
        }
    }
}
