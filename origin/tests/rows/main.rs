// SPDX-License-Identifier: Apache-2.0
//! The rules of LL-HLS (rfc8216bis), one by one, against the whole origin in this process under a clock that stands
//! still: media goes in as an encoder's long request bodies, what comes out is read as a client would.

mod encoder;
mod playlist;
mod reload;
mod stage;
