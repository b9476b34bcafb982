// SPDX-License-Identifier: Apache-2.0
//! Networks of addresses, as `192.0.2.0/24` or `2001:db8::/32` (RFC 4632, RFC 4291); an address alone is one of its own.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A network: the addresses that begin alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    /// The first address, canonical.
    first: IpAddr,
    /// Bits that its addresses have in common.
    bits: u8,
}

/// Why a text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No address before the slash.
    #[error("expected an address, as 192.0.2.0/24 has one before its slash")]
    Address,
    /// No length after it, or too great a one.
    #[error("expected a length of 0 to {max} bits after the slash")]
    Length {
        /// Bits of such an address.
        max: u8,
    },
    /// Bits beyond the length: probably another length or address was meant.
    #[error("expected the first address of the network, which is {first}")]
    Host {
        /// The first one.
        first: IpAddr,
    },
}

impl Network {
    /// Whether `address` is of this network; an IPv4 address within IPv6 counts as itself.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.first.is_ipv4() && masked(address, self.bits) == self.first
    }
}

impl FromStr for Network {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
        let address: IpAddr = address.parse().map_err(|_| Error::Address)?;
        let max = if address.is_ipv4() { 32 } else { 128 };
        let bits = match length {
            None => max,
            // NB: `parse` takes a sign, a length has none.
            Some(length) if length.starts_with('+') => return Err(Error::Length { max }),
            Some(length) => length.parse().ok().filter(|bits| *bits <= max).ok_or(Error::Length { max })?,
        };
        let first = masked(address, bits);
        if first == address { Ok(Self { first, bits }) } else { Err(Error::Host { first }) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

/// The address with nothing after its first `bits`.
fn masked(address: IpAddr, bits: u8) -> IpAddr {
    let bits = u32::from(bits);
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(bits)).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(bits)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(network: &str, address: &str) -> bool {
        network.parse::<Network>().unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn a_network_has_the_addresses_that_begin_as_it_does() {
        assert!(contains("192.0.2.0/24", "192.0.2.255") && !contains("192.0.2.0/24", "192.0.3.0"));
        assert!(contains("0.0.0.0/0", "203.0.113.9") && !contains("0.0.0.0/0", "2001:db8::1"));
        assert!(contains("::/0", "2001:db8::1") && !contains("::/0", "203.0.113.9"));
        assert!(contains("2001:db8::/33", "2001:db8:7fff::") && !contains("2001:db8::/33", "2001:db8:8000::"));
        assert!(contains("192.0.2.7", "::ffff:192.0.2.7") && !contains("192.0.2.7", "192.0.2.8"));
        assert!(contains("2001:db8::1/128", "2001:db8::1"));
    }

    #[test]
    fn what_is_no_network_is_refused_with_what_was_expected() {
        let refused = |text: &str| text.parse::<Network>().unwrap_err();
        assert_eq!(refused("edge.example/24"), Error::Address);
        assert_eq!(refused(""), Error::Address);
        for length in ["192.0.2.0/33", "192.0.2.0/", "192.0.2.0/+8", "192.0.2.0/-1", "192.0.2.0/x"] {
            assert_eq!(refused(length), Error::Length { max: 32 }, "{length}");
        }
        assert_eq!(refused("2001:db8::/129"), Error::Length { max: 128 });
        assert_eq!(refused("192.0.2.1/24"), Error::Host { first: "192.0.2.0".parse().unwrap() });
    }
}
