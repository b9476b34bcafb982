// SPDX-License-Identifier: Apache-2.0
//! What stays in memory and what leaves: bytes counted to the last one, the live edge kept, what is asked for again kept.
//!
//! The index maps keys to objects; the store holds no object, only its weight and its place in the queues. So a hit
//! touches a flag and takes no lock.

#[cfg(feature = "disk")]
pub mod disk;
mod ghost;
mod list;
pub mod memory;
pub mod pieces;
pub mod purges;
mod queues;
pub mod resident;
pub mod tags;

#[cfg(feature = "disk")]
pub use disk::Disk;
pub use memory::{Charge, Full, Memory};
pub use pieces::{PIECE_BYTES, Packer, compact};
pub use purges::{Epoch, Kind, Purge, Purges};
pub use resident::{Class, Resident};
pub use tags::Tags;
