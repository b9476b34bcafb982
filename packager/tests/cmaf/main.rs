// SPDX-License-Identifier: Apache-2.0
//! The box reader and the chunk writer against real encoders' bytes, an independent reader, and hostile input.

mod broken;
mod hostile;
mod layouts;
mod round_trip;
mod support;
mod vectors;
