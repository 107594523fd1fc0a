//! A certificate and its key, from PEM files to what rustls wants; and a sentence for whoever gave
//! files that do not serve. And whom the hub believes where it is the client itself. It opens no
//! connection and does not watch the files: `app/tls.rs` does.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, InconsistentKeys, RootCertStore, ServerConfig};
use thiserror::Error;

/// Why two files are no certificate with its key.
#[derive(Debug, Error)]
pub enum Error {
    /// The certificate's file is to blame.
    #[error("{0}")]
    Certificate(String),
    /// The key's file is to blame.
    #[error("{0}")]
    Key(String),
}

/// Reads both. HTTP/1.1 is all that is offered: a WebSocket begins there.
///
/// # Errors
/// A file cannot be read, holds nothing of its kind, or the two do not belong together.
pub fn load(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, Error> {
    let chain = chain(certificate).map_err(Error::Certificate)?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| {
        Error::Key(match error {
            pem::Error::NoItemsFound => {
                let path = key.display();
                format!("no private key in {path}; it is the PEM file with BEGIN PRIVATE KEY, not encrypted")
            }
            error => unreadable(key, &error),
        })
    })?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Certificate(error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(|error| blame(error, certificate, key))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// How the hub is a client of TLS 1.2 and 1.3, HTTP/1.1 only: it believes the authorities in that PEM
/// file, and no others; without one, those of the system.
///
/// # Errors
/// The file, or the system, has no certificate that serves.
pub fn client(authorities: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    match authorities {
        Some(path) => {
            for certificate in chain(path)? {
                let added = roots.add(certificate);
                added.map_err(|error| {
                    format!("a certificate in {} cannot be used: {error}", path.display())
                })?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err("the system has no certificate authorities; install ca-certificates, \
                            or name them in ca_file"
                    .to_owned());
            }
        }
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(path, &error))?;
    if found.is_empty() {
        let path = path.display();
        return Err(format!(
            "no certificate in {path}; it is the PEM file with BEGIN CERTIFICATE, the hub's own first, then those in between"
        ));
    }
    Ok(found)
}

fn unreadable(path: &Path, error: &pem::Error) -> String {
    let path = path.display();
    match error {
        pem::Error::Io(error) => format!("cannot read {path}: {error}"),
        error => format!("{path} is no PEM file: {error}"),
    }
}

fn blame(error: rustls::Error, certificate: &Path, key: &Path) -> Error {
    let (certificate, key) = (certificate.display(), key.display());
    match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => Error::Key(format!(
            "{key} is not the key of the first certificate in {certificate}; give the two that were made together"
        )),
        rustls::Error::InvalidCertificate(error) => {
            Error::Certificate(format!("the certificate in {certificate} cannot be used: {error}"))
        }
        error => Error::Key(format!(
            "the key in {key} cannot be used: {error}; make an RSA or ECDSA key"
        )),
    }
}
