// SPDX-License-Identifier: Apache-2.0
//! What of the machine this process may use: processors and memory, as its control group or the machine bounds them
//! (Linux, cgroups(7), both versions). A group is bounded by those it is in, so all of them are read.

use std::fs;
use std::path::{Path, PathBuf};

const GROUPS: &str = "/sys/fs/cgroup";

/// What this process may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Processor time a second, thousandths of one processor.
    pub cpu_millicores: u64,
    /// Memory; `None` where the system does not say.
    pub memory_bytes: Option<u64>,
}

impl Machine {
    /// Looks.
    pub fn look() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
        let groups =
            Groups { root: Path::new(GROUPS), of: &fs::read_to_string("/proc/self/cgroup").unwrap_or_default() };
        let memory = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_bytes(&text));
        Self {
            cpu_millicores: groups.cpu_millicores().map_or(processors * 1_000, |max| max.min(processors * 1_000)),
            memory_bytes: groups.memory_bytes().into_iter().chain(memory).min(),
        }
    }
}

/// `MemTotal` of proc_meminfo(5).
fn total_bytes(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1_024)
}

/// The groups that a process is in.
struct Groups<'a> {
    root: &'a Path,
    /// `/proc/self/cgroup`.
    of: &'a str,
}

impl Groups<'_> {
    fn cpu_millicores(&self) -> Option<u64> {
        let unified = |folder: &Path| quota(&fs::read_to_string(folder.join("cpu.max")).ok()?);
        let apart = |folder: &Path| {
            let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
            quota(&format!("{} {}", read("cpu.cfs_quota_us")?.trim(), read("cpu.cfs_period_us")?.trim()))
        };
        self.least("", unified).into_iter().chain(self.least("cpu", apart)).min()
    }

    fn memory_bytes(&self) -> Option<u64> {
        let read = |folder: &Path, name: &str| fs::read_to_string(folder.join(name)).ok()?.trim().parse().ok();
        let unified = self.least("", |folder| read(folder, "memory.max"));
        unified.into_iter().chain(self.least("memory", |folder| read(folder, "memory.limit_in_bytes"))).min()
    }

    /// The least bound of a controller over the process's group and those around it; the unified hierarchy has no name.
    fn least(&self, controller: &str, read: impl Fn(&Path) -> Option<u64>) -> Option<u64> {
        let path = self.of.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, fields.next()?);
            controllers.split(',').any(|name| name == controller).then_some(path)
        })?;
        let root: PathBuf = self.root.join(controller);
        // NB: within a container the path may be the host's, which is not there; the root is its own group then.
        let own = root.join(path.trim_start_matches('/'));
        own.ancestors().take_while(|folder| folder.starts_with(&root)).filter_map(read).min()
    }
}

/// `$MAX $PERIOD` in microseconds, `max` or a negative number for none.
fn quota(text: &str) -> Option<u64> {
    let mut fields = text.split_whitespace();
    let (max, period): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    max.saturating_mul(1_000).checked_div(period)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn the_tightest_group_around_the_process_bounds_it() {
        let folder = groups(&[
            ("cpu.max", "max 100000\n"),
            ("pods/cpu.max", "150000 100000\n"),
            ("pods/one/cpu.max", "400000 100000\n"),
            ("pods/memory.max", "1073741824\n"),
            ("pods/one/memory.max", "max\n"),
        ]);
        let groups = Groups { root: folder.path(), of: "0::/pods/one\n" };
        assert_eq!((groups.cpu_millicores(), groups.memory_bytes()), (Some(1_500), Some(1 << 30)));
    }

    #[test]
    fn controllers_of_the_first_version_are_read_apart() {
        let folder = groups(&[
            ("cpu/cpu.cfs_quota_us", "-1\n"),
            ("cpu/box/cpu.cfs_quota_us", "50000\n"),
            ("cpu/box/cpu.cfs_period_us", "100000\n"),
            ("memory/memory.limit_in_bytes", "536870912\n"),
        ]);
        let of = "5:cpu,cpuacct:/box\n4:memory:/a/path/of/the/host\n0::/\n";
        let groups = Groups { root: folder.path(), of };
        assert_eq!((groups.cpu_millicores(), groups.memory_bytes()), (Some(500), Some(1 << 29)));
    }

    #[test]
    fn without_a_group_the_machine_is_the_bound() {
        let folder = groups(&[]);
        let groups = Groups { root: folder.path(), of: "nonsense" };
        assert_eq!((groups.cpu_millicores(), groups.memory_bytes()), (None, None));
        assert_eq!(total_bytes("MemTotal:       2048 kB\nMemFree: 1 kB\n"), Some(2 << 20));
        assert!(Machine::look().cpu_millicores > 0);
    }
}
