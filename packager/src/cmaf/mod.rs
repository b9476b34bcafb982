// SPDX-License-Identifier: Apache-2.0
//! CMAF and fragmented MP4 (ISO/IEC 14496-12, ISO/IEC 23000-19), both ways.
//!
//! In: [`reader::Reader`] takes the body of any encoder, cut anywhere, and returns headers, whole fragments and event
//! messages. Out: [`header::write`] and [`fragmenter::write_chunk`] write the one canonical form that viewers get,
//! whatever the encoder sent.
//!
//! Box structure is read by our own bounds-checked [`boxes`]; what is inside a sample entry by `shiguredo_mp4`. Nothing
//! here trusts a size it has not compared with the bytes at hand or with [`Limits`].

mod audio_config;
mod box_start;
pub mod boxes;
mod collector;
pub mod error;
pub mod event_message;
pub mod fragment;
pub mod fragmenter;
pub mod header;
mod limits;
mod moof;
mod moov;
mod parameter_sets;
mod producer_time;
pub mod reader;
mod sample_entry;
pub mod track;

pub use error::Error;
pub use event_message::{EventMessage, EventTime, write_emsg};
pub use fragment::{Brands, Fragment, SourceTime, TrackFragment};
pub use fragmenter::{ChunkLayout, ChunkOptions, write_chunk};
pub use limits::Limits;
pub use producer_time::ProducerTime;
pub use reader::{End, Event, Reader};
pub use track::{Compatibility, Defaults, Edit, Header, Role, TrackHeader, UnsupportedTrack};
