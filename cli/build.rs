// SPDX-License-Identifier: Apache-2.0
//! Rebuilds when the watch page was built anew: its file names change with their content.

fn main() {
    println!("cargo:rerun-if-changed=../web/dist");
}
