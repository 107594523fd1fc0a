//! The public listener's streams: TCP as it comes, or TLS once its handshake is through. And the
//! certificate, which SIGHUP reads anew; who is connected stays.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_http::Protocol;
use actix_http::error::DispatchError;
use actix_rt::net::TcpStream;
use log::{debug, error, info};
use parking_lot::RwLock;
use rustls::ServerConfig;
use socketio::Io;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::config::TlsConfig;
use crate::tls;

/// How long a handshake may take; the first request has as long again.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The certificate that the next handshake shows. Shared, since every worker must see a new one; and
/// replaced with all that belongs to it, so that no session of the old one is resumed.
#[derive(Clone)]
pub(super) struct Certificate {
    files: TlsConfig,
    current: Arc<RwLock<Arc<ServerConfig>>>,
}

impl Certificate {
    /// # Errors
    /// The files do not serve (any more: the settings were checked).
    pub(super) fn load(files: &TlsConfig) -> Result<Self, tls::Error> {
        let config = tls::load(&files.cert, &files.key)?;
        Ok(Self { files: files.clone(), current: Arc::new(RwLock::new(config)) })
    }

    /// Reads it anew at each SIGHUP, from now on.
    ///
    /// # Errors
    /// The handler cannot be installed.
    pub(super) fn reload_on_hangup(&self) -> io::Result<()> {
        let mut hangup = signal(SignalKind::hangup())?;
        let certificate = self.clone();
        actix::spawn(async move {
            while hangup.recv().await.is_some() {
                certificate.reload();
            }
        });
        Ok(())
    }

    fn reload(&self) {
        let (cert, key) = (self.files.cert.display(), self.files.key.display());
        match tls::load(&self.files.cert, &self.files.key) {
            Ok(config) => {
                *self.current.write() = config;
                info!("certificate reloaded cert={cert} key={key}");
            }
            Err(reason) => error!(
                "certificate not reloaded, the old one stays cert={cert} key={key} reason={:?} advice=\"repair the files and send SIGHUP again\"",
                reason.to_string()
            ),
        }
    }
}

/// What `HttpService` wants to know of a new connection.
pub(super) async fn accept(
    stream: TcpStream,
    certificate: Option<Certificate>,
) -> Result<(Io, Protocol, Option<SocketAddr>), DispatchError> {
    // Without it, each small write after another waits for the client's acknowledgement.
    stream.set_nodelay(true)?;
    let peer = stream.peer_addr().ok();
    let Some(certificate) = certificate else { return Ok((stream.into(), Protocol::Http1, peer)) };
    let acceptor = TlsAcceptor::from(certificate.current.read().clone());
    match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            let (stream, connection) = stream.into_inner();
            Ok((Io::Tls(stream, Box::new(connection)), Protocol::Http1, peer))
        }
        Ok(Err(error)) => {
            debug!("tls handshake failed error={error}");
            Err(error.into())
        }
        Err(_) => {
            debug!("tls handshake failed error=timeout");
            Err(io::Error::from(io::ErrorKind::TimedOut).into())
        }
    }
}
