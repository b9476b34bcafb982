// SPDX-License-Identifier: Apache-2.0
//! The cases of a live shield, each a script of origin, shield and clients that reads top to bottom.

mod fills;
mod harness;
mod operation;
