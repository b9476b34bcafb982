// SPDX-License-Identifier: Apache-2.0
//! Server plumbing that knows no media: listeners, TLS, shutdown, growing bodies, ranges, compression,
//! configuration, metrics.

pub mod access;
pub mod config;
pub mod description;
pub mod durable;
pub mod growing;
pub mod gzip;
pub mod h1;
pub mod limits;
pub mod listener;
pub mod machine;
pub mod metrics;
pub mod network;
mod places;
mod pulse;
pub mod range;
pub mod reload;
mod response;
pub mod shutdown;
pub mod signature;
pub mod structured;
pub mod tag;
pub mod tls;
pub mod traffic;
mod watched;

pub use growing::Growing;
pub use machine::Machine;
pub use network::Network;
pub use shutdown::Shutdown;
