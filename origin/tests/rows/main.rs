// SPDX-License-Identifier: Apache-2.0
//! The rules of LL-HLS (rfc8216bis), one by one, against the whole origin in this process under a clock that stands
//! still: media goes in as an encoder's long request bodies, what comes out is read as a client would. And what an
//! operator does to it while it runs.

mod answers;
mod bounds;
mod cmsd;
mod consistency;
mod delta;
mod encoder;
mod events;
mod hints;
mod lock;
mod operation;
mod playlist;
mod reload;
mod retention;
mod self_check;
mod soak;
mod sockets;
mod stage;
mod start;
mod stop;
mod targets;
mod twins;
