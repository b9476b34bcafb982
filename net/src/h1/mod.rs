// SPDX-License-Identifier: Apache-2.0
//! HTTP/1.1 for requests without a body: what viewers and edges send, served with as little as that takes.
//!
//! A request that is plainly simple (see [`head`]) is answered here: one read, one look at its head where it lies, one
//! vectored write of head and body. Everything else, a body, another version, anything odd, takes its connection to
//! hyper with every byte that was read, and stays there. So there is nothing to be lenient about: what could be read
//! in two ways is not read here at all.

mod answer;
mod connection;
mod date;
mod due;
mod head;
mod output;
mod rewind;

use tower::util::BoxCloneSyncService;

pub use answer::{Answer, Prepared};
pub(crate) use connection::{Broken, Served, serve};
pub use head::Head;
pub(crate) use rewind::Rewind;

/// A short way past [`tower::Service::call`] for answers that are ready: no boxed future, no map of header fields.
pub trait Hits {
    /// Writes the answer if it is ready. `false` leaves the request to the service, whatever was written.
    ///
    /// It is asked for GET, HEAD and OPTIONS on HTTP/1.1 only, on the connection's task: it must not wait. For HEAD
    /// it writes what it would for GET; the body is left out and its length told.
    fn hit(&self, head: &Head<'_>, answer: &mut Answer<'_>) -> bool {
        let _ = (head, answer);
        false
    }
}

impl<T, U, E> Hits for BoxCloneSyncService<T, U, E> {}
