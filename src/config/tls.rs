//! `tls = { cert, key }` of a listener: both files or neither, and files that serve.

use std::path::{Path, PathBuf};

use super::section::Section;
use crate::tls::{self, Error};

/// A listener's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// The PEM file of the certificate and those in between.
    pub cert: PathBuf,
    /// The PEM file of its private key.
    pub key: PathBuf,
}

/// The files, if TLS is wanted; they are opened, so that a mistake is told before anything starts.
pub(super) fn read(mut section: Section<'_>) -> Option<TlsConfig> {
    let cert = section.take("cert", String::new());
    let key = section.take("key", String::new());
    let found = match (cert.value.is_empty(), key.value.is_empty()) {
        (true, true) => None,
        (false, true) => {
            let message = "missing, beside cert; give the PEM file of the certificate's key";
            section.mistake(&cert.source, "key", message);
            None
        }
        (true, false) => {
            let message = "missing, beside key; give the PEM file of the key's certificate";
            section.mistake(&key.source, "cert", message);
            None
        }
        (false, false) => {
            match tls::load(Path::new(&cert.value), Path::new(&key.value)) {
                Ok(_) => {}
                Err(Error::Certificate(message)) => section.mistake(&cert.source, "cert", message),
                Err(Error::Key(message)) => section.mistake(&key.source, "key", message),
            }
            Some(TlsConfig { cert: cert.value.into(), key: key.value.into() })
        }
    };
    section.finish();
    found
}
