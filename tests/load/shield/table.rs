// SPDX-License-Identifier: Apache-2.0
//! What was measured, as Markdown.

/// A table that is printed row by row, so that a long run shows what it has.
pub(crate) struct Table;

impl Table {
    pub(crate) fn new(title: &str, said: &str, columns: &[&str]) -> Self {
        Self::of("server", title, said, columns)
    }

    /// One whose rows are something else than servers.
    pub(crate) fn of(rows: &str, title: &str, said: &str, columns: &[&str]) -> Self {
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split_whitespace().next().unwrap_or("unknown");
        println!("\n### {title}\n\n{said} The machine's load before: {load}.\n");
        println!("| {rows} | {} |", columns.join(" | "));
        println!("|---{}|", "|---:".repeat(columns.len()));
        Self
    }

    pub(crate) fn row(&self, name: &str, cells: &[String]) {
        println!("| {name} | {} |", cells.join(" | "));
    }

    /// A server that did not do it, and why.
    pub(crate) fn absent(&self, name: &str, why: &impl std::fmt::Display) {
        println!("| {name} | {} |", why.to_string().replace(['|', '\n'], " "));
    }
}

/// In units of 2^20 bytes.
pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}
