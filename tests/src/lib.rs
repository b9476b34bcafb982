// SPDX-License-Identifier: Apache-2.0
//! The harness of the end-to-end tests: real encoders, players and processes around one program.

pub mod attacks;
pub mod broker;
