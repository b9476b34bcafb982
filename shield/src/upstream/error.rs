// SPDX-License-Identifier: Apache-2.0
//! Why a group could not be made, and why none of its origins answered.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

/// Settings of a group that are of no use.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    /// No origin.
    #[error("expected at least one origin of the group {group:?}")]
    Empty {
        /// The group.
        group: String,
    },
    /// Not the address of an origin.
    #[error(
        "expected `here` or http:// or https:// with a host and perhaps a port as an origin of {group:?}, got {origin:?}"
    )]
    Address {
        /// The group.
        group: String,
        /// What was given.
        origin: String,
    },
    /// The same twice.
    #[error("expected each origin of {group:?} once, got {origin:?} again")]
    Twice {
        /// The group.
        group: String,
        /// What was given.
        origin: String,
    },
    /// `here` where there is no origin.
    #[error("expected an origin in this process for `here` in {group:?}: `headwater serve` has one")]
    Elsewhere {
        /// The group.
        group: String,
    },
    /// Not a Host.
    #[error("expected a host and perhaps a port as the Host of {group:?}, got {host:?}")]
    Host {
        /// The group.
        group: String,
        /// What was given.
        host: String,
    },
    /// Not a path.
    #[error("expected an absolute path as the health_path of {group:?}, got {path:?}")]
    HealthPath {
        /// The group.
        group: String,
        /// What was given.
        path: String,
    },
    /// A number out of its range.
    #[error("expected {key} of {group:?} to be at least 1, got 0")]
    Zero {
        /// The group.
        group: String,
        /// The key.
        key: &'static str,
    },
    /// A key that anybody knows.
    #[error("expected a long random text as the key of {group:?}, got an empty one")]
    Key {
        /// The group.
        group: String,
    },
    /// Siblings without what they need.
    #[error("expected siblings.{0} where siblings.others names any")]
    Sibling(&'static str),
    /// A file of certificates that cannot be read.
    #[error("expected PEM certificates in {path}: {cause}")]
    Authority {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        cause: String,
    },
    /// Nobody can be believed over TLS.
    #[error("expected certificates that vouch for https:// origins of {group:?}: {cause}")]
    Trust {
        /// The group.
        group: String,
        /// What was found.
        cause: String,
    },
}

/// Why one origin gave no head.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// No connection could be made.
    #[error("expected a connection, {0}")]
    Connect(Arc<str>),
    /// The head did not come in time.
    #[error("expected a response within {0:?}, none came")]
    Late(Duration),
    /// The connection ended or broke the protocol before the head.
    #[error("expected a response, {0}")]
    Broken(Arc<str>),
    /// As many requests as may be open at once were, for as long as a head may take.
    #[error("expected one of {0} connections to be free")]
    Busy(usize),
}

/// Why a group has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The origin that was asked last gave no head; neither did those before it.
    #[error("{origin}: {cause} ({attempts} origins asked)")]
    Failed {
        /// Its address.
        origin: Arc<str>,
        /// What happened.
        cause: Cause,
        /// Origins that were asked.
        attempts: u32,
    },
    /// What broke off cannot be told from another object: it has no strong validator, or it is no plain 200.
    #[error("expected a 200 with a strong ETag (or identical origins) to go on with, got {0}")]
    NotResumable(&'static str),
    /// An origin has other bytes under this name.
    #[error("{origin}: expected {expected} to go on with, got {got}")]
    Different {
        /// Its address.
        origin: Arc<str>,
        /// What would have fitted.
        expected: String,
        /// What came.
        got: String,
    },
}

impl Error {
    /// What a client is told.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Failed { cause: Cause::Late(_), .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::Failed { cause: Cause::Busy(_), .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Failed { .. } | Self::NotResumable(_) | Self::Different { .. } => StatusCode::BAD_GATEWAY,
        }
    }

    /// Another origin, or the same one later, may answer.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Failed { .. })
    }
}
