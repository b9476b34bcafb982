// SPDX-License-Identifier: Apache-2.0
//! The edges between the workspace's crates, read from `cargo metadata`: ARCHITECTURE.md draws them.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

/// Which crates of ours each may name, by folder. `cli` and `tests` may name any.
const ALLOWED: [(&str, &[&str]); 7] = [
    ("media", &[]),
    ("net", &[]),
    ("packager", &["media"]),
    ("manifests", &["media"]),
    ("events", &["media", "net"]),
    ("origin", &["media", "packager", "manifests", "events", "net"]),
    ("shield", &["media", "events", "net"]),
];

/// Crates that are values in, values out: no clock, no socket, no task, no randomness.
const PURE: [&str; 3] = ["media", "packager", "manifests"];
const IMPURE: [&str; 7] = ["tokio", "hyper", "axum", "reqwest", "rand", "getrandom", "mio"];

/// A dependency as a manifest names it.
struct Edge {
    to: String,
    dev: bool,
}

fn folder(package: &str) -> &str {
    if package == "headwater" { "cli" } else { package.strip_prefix("headwater-").unwrap_or(package) }
}

/// Folder of each crate → everything it names.
fn edges() -> BTreeMap<String, Vec<Edge>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(crate::root())
        .output()
        .expect("cargo runs where cargo test runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let packages = metadata["packages"].as_array().expect("a workspace has packages");
    packages.iter().map(|package| (folder(text(&package["name"])).to_owned(), named_by(package))).collect()
}

fn named_by(package: &Value) -> Vec<Edge> {
    let dependencies = package["dependencies"].as_array().expect("a package lists its dependencies");
    dependencies
        .iter()
        .map(|d| Edge { to: folder(text(&d["name"])).to_owned(), dev: d["kind"].as_str() == Some("dev") })
        .collect()
}

fn text(value: &Value) -> &str {
    value.as_str().expect("names are strings")
}

#[test]
fn a_crate_imports_only_whom_the_architecture_names() {
    let edges = edges();
    for (from, named) in &edges {
        if from == "cli" || from == "tests" {
            continue;
        }
        let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| name == from) else {
            panic!("the crate {from} is not in the architecture")
        };
        for edge in named.iter().filter(|edge| edges.contains_key(&edge.to)) {
            assert!(allowed.contains(&edge.to.as_str()), "{from} imports {}: expected only {allowed:?}", edge.to);
        }
    }
}

#[test]
fn nothing_imports_the_program_or_the_tests() {
    for (from, named) in edges().iter().filter(|(from, _)| *from != "tests") {
        assert!(!named.iter().any(|edge| edge.to == "cli" || edge.to == "tests"), "{from} imports cli or tests");
    }
}

#[test]
fn pure_crates_have_no_clock_socket_or_task() {
    let edges = edges();
    for from in PURE {
        let impure = edges[from].iter().find(|edge| !edge.dev && IMPURE.contains(&edge.to.as_str()));
        assert!(impure.is_none(), "{from} imports {}", impure.map_or("", |edge| &edge.to));
    }
}
