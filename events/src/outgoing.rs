// SPDX-License-Identifier: Apache-2.0
//! What clients of HTTP share: how they connect, and how long they wait before they try again.

use std::sync::Arc;
use std::time::Duration;

use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use ring::rand::{SecureRandom, SystemRandom};
use url::Url;

/// How long a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Connections to where `url` is, over TLS with the certificates that the system believes.
///
/// # Errors
/// Why there are none of those.
pub(crate) fn connector(url: &Url) -> Result<HttpsConnector<HttpConnector>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    // Without TLS nobody has to be believed, and a system without certificates is none too few.
    let tls = match url.scheme() {
        "https" => builder.with_native_roots().map_err(|error| error.to_string())?,
        _ => builder.with_root_certificates(rustls::RootCertStore::empty()),
    };
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(CONNECT_MAX));
    tcp.set_nodelay(true);
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls.with_no_client_auth());
    Ok(connector.https_or_http().enable_http1().wrap_connector(tcp))
}

/// Before the next attempt after so many: from the first of `bounds` doubled each time up to the second, and somewhere in
/// the upper half of that, so that those who lost the same server do not come back at once.
pub(crate) fn pause(bounds: (Duration, Duration), failures: u32) -> Duration {
    let longest = bounds.0.saturating_mul(1 << failures.min(16)).min(bounds.1);
    let mut random = [u8::MAX];
    // Without randomness it is the longest.
    let _ = SystemRandom::new().fill(&mut random);
    longest / 2 + longest * u32::from(random[0]) / 510
}

/// The cause of all.
pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_their_bound_within_their_upper_half() {
        let bounds = (Duration::from_millis(100), Duration::from_secs(5));
        for (failures, longest) in [(0, 100), (1, 200), (4, 1_600), (6, 5_000), (u32::MAX, 5_000)] {
            let pause = pause(bounds, failures).as_millis();
            assert!((longest / 2..=longest).contains(&pause), "{failures}: {pause} ms");
        }
    }
}
