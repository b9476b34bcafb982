// SPDX-License-Identifier: Apache-2.0
//! What the process takes of the machine, read from `/proc/self` at a scrape; where there is none, nothing is told.

use std::fmt;
use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use super::Declared;

const CPU: &str = "Processor time of this process, user and system";
const MEMORY: &str = "Memory of this process that is resident";
const THREADS: &str = "Threads of this process";
const STARTED: &str = "When this process started, Unix time";
/// The tick in which the kernel tells processor time to programs, on every platform of Linux.
const USER_TICK: Duration = Duration::from_millis(10);

/// Tells of the process at each scrape.
#[derive(Debug)]
pub struct Process {
    started: f64,
}

impl Process {
    /// Tells of the process since now.
    pub fn new() -> Self {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        Self { started }
    }

    /// Its metrics as they are declared.
    pub fn declared() -> [Declared; 4] {
        [
            ("process_cpu_seconds_total", "counter", CPU),
            ("process_resident_memory_bytes", "gauge", MEMORY),
            ("process_threads", "gauge", THREADS),
            ("process_start_time_seconds", "gauge", STARTED),
        ]
        .map(|(name, kind, help)| Declared { name: name.to_owned(), kind, labels: &[], help })
    }
}

impl Default for Process {
    fn default() -> Self {
        Self::new()
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        if let Some(used) = cpu_time() {
            let counter = ConstCounter::new(used.as_secs_f64());
            counter.encode(encoder.encode_descriptor(
                "process_cpu",
                &format!("{CPU}."),
                Some(&Unit::Seconds),
                counter.metric_type(),
            )?)?;
        }
        let status = status();
        let memory = resident(&status);
        let started = Some(self.started);
        let mut gauge = |name: &str, help: &str, unit: Option<&Unit>, value: Option<f64>| {
            let Some(value) = value else { return Ok(()) };
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, &format!("{help}."), unit, gauge.metric_type())?)
        };
        gauge("process_resident_memory", MEMORY, Some(&Unit::Bytes), memory.map(|bytes| bytes as f64))?;
        gauge("process_threads", THREADS, None, field(&status, "Threads:").map(|threads| threads as f64))?;
        gauge("process_start_time", STARTED, Some(&Unit::Seconds), started)
    }
}

/// Processor time of this process, user and system, where the system says so.
pub fn cpu_time() -> Option<Duration> {
    cpu(&fs::read_to_string("/proc/self/stat").ok()?)
}

/// Memory of this process by the system's count, where it says so.
pub fn resident_bytes() -> Option<u64> {
    resident(&status())
}

fn status() -> String {
    fs::read_to_string("/proc/self/status").unwrap_or_default()
}

fn resident(status: &str) -> Option<u64> {
    Some(field(status, "VmRSS:")? * 1_024)
}

/// utime and stime of proc_pid_stat(5). The program's name comes before them and may hold anything, so count from its end.
fn cpu(stat: &str) -> Option<Duration> {
    let (_, after) = stat.rsplit_once(')')?;
    let mut fields = after.split_whitespace().skip(11);
    let (user, system): (u32, u32) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(USER_TICK * user + USER_TICK * system)
}

fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_behind_any_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 1 0 100 1 1";
        assert_eq!(cpu(stat), Some(Duration::from_secs(3)));
        assert_eq!(cpu("nonsense"), None);
    }

    #[test]
    fn fields_are_read_by_name() {
        assert_eq!(field("Name:\tx\nVmRSS:\t   123 kB\nThreads:\t4\n", "VmRSS:"), Some(123));
        assert_eq!(field("Name:\tx\n", "VmRSS:"), None);
    }
}
