// SPDX-License-Identifier: Apache-2.0
//! Places for connections: so many in all, so many for one address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::limits::{Limits, Tally};

/// The places of one listener; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    tally: Arc<Tally>,
    /// Connections by network; held to count one up or down. Only networks with a connection are in it.
    peers: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A connection's place among all and among those of its address; freed when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Places,
    network: IpAddr,
}

impl Places {
    /// No connection yet.
    pub(crate) fn new(tally: Arc<Tally>) -> Self {
        Self { tally, peers: Arc::default() }
    }

    /// # Errors
    /// The bound that is reached: its name and its number.
    pub(crate) fn take(&self, address: IpAddr, limits: &Limits) -> Result<Place, (&'static str, usize)> {
        if self.tally.open() >= limits.connections_max {
            return Err(("connections", limits.connections_max));
        }
        let network = network(address);
        let mut counts = self.peers.lock();
        let count = counts.entry(network).or_default();
        if *count >= limits.connections_per_peer_max {
            return Err(("connections_per_peer", limits.connections_per_peer_max));
        }
        *count += 1;
        drop(counts);
        self.tally.opened();
        Ok(Place { places: self.clone(), network })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.tally.closed();
        let mut counts = self.places.peers.lock();
        if let Some(count) = counts.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.network);
            }
        }
    }
}

/// Whose an address is: of IPv6 a whole /64 is one site's.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_take_every_place() {
        let limits = Limits { connections_max: 4, connections_per_peer_max: 2, ..Limits::default() };
        let places = Places::new(Arc::default());
        let take = |address: &str| places.take(address.parse().unwrap(), &limits);
        let first = [take("192.0.2.1").unwrap(), take("::ffff:192.0.2.1").unwrap()];
        assert_eq!(take("192.0.2.1").unwrap_err(), ("connections_per_peer", 2));
        let _other = [take("2001:db8::1").unwrap(), take("2001:db8::ffff:2").unwrap()];
        assert_eq!(take("2001:db8:0:1::1").unwrap_err(), ("connections", 4));
        drop(first);
        assert_eq!(take("2001:db8::3").unwrap_err(), ("connections_per_peer", 2));
        assert!(take("192.0.2.1").is_ok());
        assert_eq!((places.tally.open(), places.peers.lock().len()), (2, 1));
    }
}
