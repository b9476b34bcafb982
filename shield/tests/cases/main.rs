// SPDX-License-Identifier: Apache-2.0
//! Cases of a live shield: an origin by script, the shield, its clients, in one file each.

mod alone;
mod broken;
mod cancellation;
mod fills;
mod flight;
mod freshness;
mod harness;
mod here;
mod operation;
mod origins;
mod purges;
mod room;
mod secure;
mod strangers;
