// SPDX-License-Identifier: Apache-2.0
//! What stays in memory and what leaves: bytes counted to the last one, the live edge kept, what is asked for again kept.
//!
//! The index maps keys to objects; the store holds no object, only its weight and its place in the queues. So a hit
//! touches a flag and takes no lock.

mod ghost;
mod list;
pub mod memory;
mod queues;
pub mod resident;
pub mod tags;

pub use memory::{Charge, Full, Memory};
pub use resident::{Class, Resident};
pub use tags::{Epoch, Kind, Purge, Purges, Tags};
