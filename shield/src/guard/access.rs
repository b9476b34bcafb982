// SPDX-License-Identifier: Apache-2.0
//! Who may ask a route: edges of certain networks, with a certificate, with a signed URL. Asked at every request, hits
//! too.

use std::time::SystemTime;

use headwater_net::{Network, network};
use http::StatusCode;

use super::token::Keys;
use super::{Edge, Refusal};
use crate::config;

/// The one answer to whoever may not ask: which of the conditions failed is not said.
const FORBIDDEN: Refusal = Refusal {
    status: StatusCode::FORBIDDEN,
    retry_after: None,
    words: "expected a request that this edge is permitted to make",
    bound: "access",
};

/// Who may ask a route.
#[derive(Debug)]
pub struct Access {
    networks: Vec<Network>,
    certificate: bool,
    keys: Keys,
}

impl Access {
    /// No condition at all.
    pub const ANYBODY: Self = Self { networks: Vec::new(), certificate: false, keys: Keys::NONE };

    /// As a route is configured.
    ///
    /// # Errors
    /// If one of its networks is none.
    pub fn new(route: &config::Route) -> Result<Self, network::Error> {
        let networks = route.edges.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
        Ok(Self { networks, certificate: route.edge_certificate, keys: Keys::new(&route.token_keys) })
    }

    /// Checks a request; `now` is asked for the time only where tokens have an end.
    ///
    /// # Errors
    /// The refusal, the same whatever was wrong.
    pub fn check(&self, edge: &Edge, path: &str, query: &str, now: impl FnOnce() -> SystemTime) -> Result<(), Refusal> {
        let peer = edge.peer();
        let near = self.networks.is_empty() || self.networks.iter().any(|network| network.contains(peer));
        let certified = !self.certificate || edge.certified();
        let signed = self.keys.is_empty() || self.keys.admit(path, query, peer, now());
        if near && certified && signed { Ok(()) } else { Err(FORBIDDEN) }
    }
}
