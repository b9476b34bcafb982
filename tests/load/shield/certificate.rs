// SPDX-License-Identifier: Apache-2.0
//! A certificate of the rig's own, and a client that trusts it and nobody else.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::process::Scratch;

pub(crate) struct Certificate {
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
    /// Chain and key in one file.
    pub(crate) both: PathBuf,
    pub(crate) connector: TlsConnector,
    _scratch: Scratch,
}

/// The name that it is for.
pub(crate) const NAME: &str = "shield.example";

impl Certificate {
    pub(crate) fn make() -> Self {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).expect("a certificate");
        let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let scratch = Scratch::new("certificate");
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).expect("a certificate");
        // One cipher for all servers, so that their choice is no part of the figure.
        let mut provider = ring::default_provider();
        provider.cipher_suites = vec![ring::cipher_suite::TLS13_AES_128_GCM_SHA256];
        let config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .expect("TLS 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            both: scratch.write("both.pem", &format!("{chain}{key}")),
            chain: scratch.write("chain.pem", &chain),
            key: scratch.write("key.pem", &key),
            connector: TlsConnector::from(Arc::new(config)),
            _scratch: scratch,
        }
    }
}
