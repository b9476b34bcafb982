// SPDX-License-Identifier: Apache-2.0
//! The rules of HTTP caching as pure functions: no socket, no task, no clock. Times come in as arguments.
//!
//! RFC 9111 (caching), 9110 (conditions and ranges), 9213 (targeted fields), 9211 (Cache-Status), 5861 (stale-*), 8246
//! (immutable). What a hit asks of them ([`Policy::freshness`], [`Policy::age`]) allocates nothing and reads no header.
//!
//! Our own rather than `http-cache-semantics`: that keeps both heads whole for each object, counts whole seconds of wall
//! clock, and knows neither targeted fields nor lifetimes below a second.
//!
//! Decisions where the RFCs leave a choice:
//! - Directives of requests are advisory (RFC 9111, 5.2.1). `only-if-cached` is heeded; `no-cache`, `max-age`,
//!   `min-fresh`, `max-stale`, `no-store` and `Pragma` are not: a reload in one browser is no reason to ask the origin.
//! - No lifetime is guessed (RFC 9111, 4.2.2): an answer without one is asked for again each time, by its validator.
//! - Set-Cookie makes an answer its client's own, whatever else it says.
//! - `private="x"` and `no-cache="x"` count as `private` and `no-cache` (RFC 9111, 5.2.2.4 and 5.2.2.7).

pub mod cache_status;
mod conditions;
mod directives;
pub mod fields;
mod judge;
mod kept;
mod policy;
mod revalidation;
mod vary;

use http::{HeaderMap, Method};

pub use conditions::{Outcome, Stored, outcome};
pub use directives::only_if_cached;
pub use judge::{Defaults, Reason, Verdict, is_failure, judge};
pub use kept::Kept;
pub use policy::{Freshness, Policy};
pub use revalidation::{Unmatched, conditional, merge};
pub use vary::{Selector, selector};

/// What of a request the rules read.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its fields, as they go upstream.
    pub headers: &'a HeaderMap,
}
