// SPDX-License-Identifier: Apache-2.0
//! The shield: takes the misses of CDN edges, asks an origin once for each object, and hides from viewers when an origin
//! dies.

pub mod config;
pub mod semantics;
pub mod store;
pub mod upstream;

pub use config::Config;
