// SPDX-License-Identifier: Apache-2.0
//! `headwater events schema`: the schemas that this program writes events by.

use std::path::PathBuf;

use anyhow::{Context, bail};
use headwater_events::event::Data;
use headwater_events::{Kind, schema};

use super::out;

/// Of what, and where to.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// A type, `segment.ready`; none: what types there are
    #[arg(value_name = "TYPE", conflicts_with_all = ["dir", "asyncapi"])]
    kind: Option<String>,
    /// Write every schema and the AsyncAPI document into this folder
    #[arg(long, value_name = "DIR", conflicts_with = "asyncapi")]
    dir: Option<PathBuf>,
    /// Print the AsyncAPI document
    #[arg(long)]
    asyncapi: bool,
}

/// Prints or writes.
///
/// # Errors
/// For a type that there is not, and a file that cannot be written.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    if let Some(dir) = &options.dir {
        for (path, text) in files(&dir.to_string_lossy()) {
            write(&PathBuf::from(path), &text)?;
        }
        return Ok(());
    }
    let text = match &options.kind {
        Some(name) => match Kind::named(name) {
            Some(kind) => schema::text(kind),
            None => bail!(
                "expected a type, one of {}, got {name}",
                Kind::ALL.iter().map(|k| k.name()).collect::<Vec<_>>().join(", ")
            ),
        },
        None if options.asyncapi => schema::asyncapi(),
        None => Kind::ALL.iter().map(|kind| format!("{:20}{}\n", kind.name(), Data::says(*kind))).collect(),
    };
    out::print(&text)
}

/// Every file below `root`, and its text.
pub(crate) fn files(root: &str) -> Vec<(String, String)> {
    let mut files: Vec<_> =
        Kind::ALL.iter().map(|kind| (format!("{root}/events/{}", schema::file(*kind)), schema::text(*kind))).collect();
    files.push((format!("{root}/asyncapi.yaml"), schema::asyncapi()));
    files
}

/// Writes a file and the folder it lies in.
///
/// # Errors
/// With the path.
pub(crate) fn write(path: &std::path::Path, text: &str) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("expected to make {}", folder.display()))?;
    }
    std::fs::write(path, text).with_context(|| format!("expected to write {}", path.display()))
}
