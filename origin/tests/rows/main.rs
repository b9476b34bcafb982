// SPDX-License-Identifier: Apache-2.0
//! The rules of LL-HLS, one by one.
#[test]
fn x() {}
