// SPDX-License-Identifier: Apache-2.0
//! The bounds of a log.

use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};

use crate::config::{Config, Sync};

/// Bytes of a log that is in memory alone, whatever its configuration says beyond.
const MEMORY_BYTES_MAX: u64 = 32 << 20;
/// Bytes of a file of the log; small logs have smaller files, so that they leave by little.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// The bounds of a log.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Bytes of the log; its oldest events leave first.
    pub bytes_max: u64,
    /// Bytes of a log that is in memory alone.
    pub memory_bytes_max: u64,
    /// How long an event stays.
    pub age_max: Duration,
    /// Bytes of one file.
    pub file_bytes_max: u64,
    /// When it is forced to the disk.
    pub sync: Sync,
    /// How long after the start nothing leaves: who holds events has to say so first.
    pub grace: Duration,
}

impl Settings {
    /// As configured.
    pub fn of(config: &Config) -> Self {
        Self {
            bytes_max: config.log_bytes_max,
            memory_bytes_max: config.log_bytes_max.min(MEMORY_BYTES_MAX),
            age_max: Duration::from_secs(config.log_seconds.into()),
            file_bytes_max: (config.log_bytes_max / 32).clamp(64 << 10, FILE_BYTES_MAX),
            sync: config.sync,
            grace: Duration::from_secs(30),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::of(&Config::default())
    }
}

/// A name that no other log has.
pub(super) fn identity() -> String {
    let mut bytes = [0; 16];
    // Without randomness of the system the time still tells logs apart.
    if SystemRandom::new().fill(&mut bytes).is_err() {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        bytes = since.as_nanos().to_be_bytes();
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
