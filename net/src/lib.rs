// SPDX-License-Identifier: Apache-2.0
//! Server plumbing that knows no media: listeners, TLS, shutdown, growing bodies, ranges, compression.

pub mod growing;
pub mod gzip;
pub mod listener;
pub mod range;
pub mod shutdown;
pub mod tag;
pub mod tls;

pub use growing::Growing;
pub use shutdown::Shutdown;
