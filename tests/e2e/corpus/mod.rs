// SPDX-License-Identifier: Apache-2.0
//! Encoders as they are: every vector pushed over real sockets to a real process, in every manner that encoders have,
//! with what must come of it, beside a healthy channel that must not notice.

mod files;
mod manner;
mod media;
mod outcome;
mod senders;
mod stage;
mod tracks;
