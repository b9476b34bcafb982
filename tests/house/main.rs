// SPDX-License-Identifier: Apache-2.0
//! The house rules that no compiler holds: who may import whom, and what every file looks like.

mod imports;
mod sources;

use std::path::{Path, PathBuf};

/// The workspace's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests crate lies in the workspace").to_owned()
}
