//! Where a store's servers are, and how to enter: what the settings say, as the client library takes it.

use redis::io::tcp::TcpSettings;
use redis::{
    Client, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo, RedisError,
    TlsCertificates,
};

/// How to enter; another server is entered likewise.
#[derive(Clone)]
pub(super) struct Door {
    info: ConnectionInfo,
}

impl Door {
    /// By a URL; `ca` is who signs certificates, as PEM, if not whom the system trusts.
    pub(super) fn new(url: &str, ca: Option<&[u8]>) -> Result<Self, RedisError> {
        let info = url.into_connection_info()?;
        // Not the library's name: that would need one more permission.
        let redis = info.redis_settings().clone().set_skip_set_lib_name();
        let tcp = TcpSettings::default().set_nodelay(true);
        let mut info = info.set_redis_settings(redis).set_tcp_settings(tcp);
        if let (ConnectionAddr::TcpTls { .. }, Some(ca)) = (info.addr(), ca) {
            let certificates = TlsCertificates { client_tls: None, root_cert: Some(ca.to_vec()) };
            info = Client::build_with_tls(info, certificates)?.get_connection_info().clone();
        }
        Ok(Self { info })
    }

    /// To the server that the URL names.
    pub(super) fn client(&self) -> Result<Client, RedisError> {
        Client::open(self.info.clone())
    }

    /// To another one.
    pub(super) fn client_at(&self, (host, port): &(String, u16)) -> Result<Client, RedisError> {
        let (host, port) = (host.clone(), *port);
        let address = match self.info.addr() {
            ConnectionAddr::Tcp(..) => ConnectionAddr::Tcp(host, port),
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => ConnectionAddr::TcpTls {
                host,
                port,
                insecure: *insecure,
                tls_params: tls_params.clone(),
            },
            _ => {
                let why = "a socket is one server";
                return Err((ErrorKind::InvalidClientConfig, why).into());
            }
        };
        Client::open(self.info.clone().set_addr(address))
    }

    /// Where the URL leads, without credentials.
    pub(super) fn address(&self) -> String {
        self.info.addr().to_string()
    }

    /// The database.
    pub(super) fn db(&self) -> i64 {
        self.info.redis_settings().db()
    }
}
