// SPDX-License-Identifier: Apache-2.0
//! What was measured, as Markdown.

/// A table that is printed row by row, so that a long run shows what it has.
pub(crate) struct Table;

impl Table {
    pub(crate) fn new(title: &str, said: &str, columns: &[&str]) -> Self {
        println!("\n### {title}\n\n{said}\n");
        println!("| server | {} |", columns.join(" | "));
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
