// SPDX-License-Identifier: Apache-2.0
//! TLS by configuration: a certificate chain and its key in PEM files, read anew while connections go on; HTTP/2 and
//! HTTP/1.1 by ALPN; TLS 1.2 and 1.3.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{Accept, TlsAcceptor};

/// Where a listener's certificate is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The chain.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Authority of client certificates; a client may show none.
    pub client_ca: Option<PathBuf>,
}

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read as PEM.
    #[error("expected PEM {what} in {path}: {source}")]
    Pem {
        /// `certificates` or `a private key`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the reader said.
        source: rustls::pki_types::pem::Error,
    },
    /// A file has no certificate.
    #[error("expected at least one certificate in {path}")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Certificate and key do not fit.
    #[error("expected a certificate chain and the key that belongs to it: {0}")]
    Mismatch(#[from] rustls::Error),
    /// The authority of client certificates is of no use.
    #[error("expected an authority of client certificates in {path}: {source}")]
    Authority {
        /// The file.
        path: PathBuf,
        /// What the verifier said.
        source: VerifierBuilderError,
    },
}

/// Takes TLS connections with the newest certificate.
#[derive(Debug)]
pub struct Acceptor {
    config: ArcSwap<ServerConfig>,
}

impl Acceptor {
    /// Reads the files.
    ///
    /// # Errors
    /// [`Error`] names the file and what was expected of it.
    pub fn new(files: &Files) -> Result<Self, Error> {
        Ok(Self { config: ArcSwap::new(server(files)?) })
    }

    /// Reads the files anew; handshakes from here on use them, connections that are open go on.
    ///
    /// # Errors
    /// As [`Self::new`]; what was in force stays so.
    pub fn reload(&self, files: &Files) -> Result<(), Error> {
        self.config.store(server(files)?);
        Ok(())
    }

    /// The handshake of a connection.
    pub fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> Accept<S> {
        TlsAcceptor::from(self.config.load_full()).accept(stream)
    }
}

fn server(files: &Files) -> Result<Arc<ServerConfig>, Error> {
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(pem("a private key", &files.key))?;
    let chain = certificates(&files.certificate)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate)?;
            }
            // Viewers share the port and have none; what needs one asks for it by itself.
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .map_err(|source| Error::Authority { path: path.clone(), source })?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read = CertificateDer::pem_file_iter(path).map_err(pem("certificates", path))?;
    let chain: Vec<_> = read.collect::<Result<_, _>>().map_err(pem("certificates", path))?;
    if chain.is_empty() { Err(Error::Empty { path: path.to_owned() }) } else { Ok(chain) }
}

fn pem(what: &'static str, path: &Path) -> impl FnOnce(rustls::pki_types::pem::Error) -> Error {
    move |source| Error::Pem { what, path: path.to_owned(), source }
}
