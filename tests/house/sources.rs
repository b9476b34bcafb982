// SPDX-License-Identifier: Apache-2.0
//! What every file of the repository looks like.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders that are made, not written.
const MADE: [&str; 5] = ["target", "node_modules", "dist", ".git", "data"];

/// Every written file, relative to the root.
fn files() -> Vec<PathBuf> {
    let root = crate::root();
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the workspace can be read") {
            let entry = entry.expect("the workspace can be read");
            let kind = entry.file_type().expect("the workspace can be read");
            let made = MADE.iter().any(|made| entry.file_name() == *made);
            if kind.is_dir() && !made {
                folders.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path().strip_prefix(&root).expect("below the root").to_owned());
            }
        }
    }
    found.sort();
    found
}

/// A file's text; `None` for media and other bytes.
fn text(path: &Path) -> Option<String> {
    String::from_utf8(fs::read(crate::root().join(path)).ok()?).ok()
}

fn with_extension(extension: &str) -> impl Iterator<Item = (PathBuf, String)> {
    let wanted = files().into_iter().filter(move |path| path.extension().is_some_and(|e| *e == *extension));
    wanted.filter_map(|path| text(&path).map(|text| (path, text)))
}

#[test]
fn every_rust_file_begins_with_its_licence_and_says_why_it_exists() {
    for (path, text) in with_extension("rs") {
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("// SPDX-License-Identifier: Apache-2.0"), "{}", path.display());
        let said = lines.next().is_some_and(|line| line.starts_with("//! "));
        assert!(said, "{}: expected a module doc on line 2", path.display());
    }
}

#[test]
fn no_file_knows_the_machine_it_was_written_on() {
    let machine = ["root", "home", "work"].map(|folder| format!("/{folder}/"));
    let outside = format!("..{}shared", '/');
    for path in files() {
        let Some(text) = text(&path) else { continue };
        for place in machine.iter().chain([&outside]) {
            assert!(!text.contains(place.as_str()), "{} names {place}", path.display());
        }
    }
}

#[test]
fn main_is_twenty_lines_at_most() {
    let mains = with_extension("rs").filter(|(path, _)| path.ends_with("src/main.rs"));
    for (path, text) in mains {
        assert!(text.lines().count() <= 20, "{} has {} lines", path.display(), text.lines().count());
    }
}

#[test]
fn every_crate_takes_the_workspaces_lints() {
    let manifests =
        with_extension("toml").filter(|(path, text)| path.ends_with("Cargo.toml") && text.contains("[package]"));
    for (path, text) in manifests {
        assert!(text.contains("[lints]\nworkspace = true"), "{}", path.display());
    }
}
