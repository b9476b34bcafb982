// SPDX-License-Identifier: Apache-2.0
//! Cases of a live shield: an origin by script, the shield, its clients, in one file each.

mod abuse;
mod alone;
// What is sent to an origin is sent to a shield too; the crate that it belongs to is no business of this one.
#[path = "../../../tests/src/attacks.rs"]
#[allow(dead_code, unreachable_pub)]
mod attacks;
mod broken;
mod cancellation;
mod cmsd;
#[cfg(feature = "disk")]
mod disk;
mod fills;
mod flight;
mod follow;
mod freshness;
mod guarded;
mod harness;
mod here;
mod live;
mod operation;
mod origins;
mod purges;
mod room;
mod secure;
mod strangers;
mod told;
