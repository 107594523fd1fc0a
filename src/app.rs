//! The wiring: the one place that knows every actor. It starts them from the inside out, so that
//! nobody is let in before there is somebody to take them, and stops them from the outside in.

mod drain;
mod identities;
mod public;
mod tls;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{fmt, io};

use actix::{Actor, Addr, Arbiter};
use actix_server::ServerHandle;
use actix_web::web::Data;
use log::{error, info, warn};
use socket2::{Domain, Socket, Type};
use thiserror::Error;

use crate::admin::{self, Hub};
use crate::clients::limited::Limited;
use crate::clients::watch::Watch;
use crate::clients::{Gate, Identity};
use crate::config::{Config, NotifierConfig, fitting_message};
use crate::demo::Demo;
use crate::descriptors::{Change, Descriptors, LOOK_EVERY};
use crate::directory::{self, Directory};
use crate::metrics::Metrics;
use crate::notifier::{Fleet, StartError, Surroundings};
use crate::registry::Registry;
use crate::sequencer::Sequencer;

/// Why the hub does not run. All of these are the environment's: exit code 2.
#[derive(Debug, Error)]
pub enum Error {
    /// A listener's address cannot be had.
    #[error(
        "cannot listen on {address} ({key}): {source}; is another hub running? choose another port"
    )]
    Listen {
        /// The setting.
        key: &'static str,
        /// Its value.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// A notifier cannot be started.
    #[error("notifier {name}: {source}")]
    Notifier {
        /// Its name.
        name: String,
        /// Why.
        source: StartError,
    },
    /// The certificate, or its key.
    #[error("server.tls: {0}")]
    Tls(#[from] crate::tls::Error),
    /// libzmq was built without CURVE.
    #[error("this libzmq has no CURVE; build the hub as its README says")]
    NoCurve,
    /// A session store's URL.
    #[error("session store: {0}")]
    Store(#[from] redis::RedisError),
    /// The limit on open files leaves nothing for connections.
    #[error("the limit on open files leaves none for connections; raise LimitNOFILE or ulimit -n")]
    FewFiles,
    /// Something else failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A part that cannot be replaced has stopped.
    #[error("the {0} has stopped unexpectedly; see the log above")]
    Broken(&'static str),
}

/// What a running hub says of itself.
pub struct Ready {
    /// The public listener, as bound.
    pub public: SocketAddr,
    /// The admin listener, as bound.
    pub admin: SocketAddr,
    /// Whether the public listener speaks TLS.
    pub tls: bool,
}

impl fmt::Display for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "pregon: listening on {scheme}://{}, admin on http://{}", self.public, self.admin)
    }
}

/// Runs the hub until a signal ends it. `announce` is called once it accepts connections.
///
/// # Errors
/// It could not start, or a part of it broke.
pub async fn run(config: Config, demo: bool, announce: impl FnOnce(&Ready)) -> Result<(), Error> {
    if zmq::has("curve") != Some(true) {
        return Err(Error::NoCurve);
    }
    let descriptors = Descriptors::raise().map_err(|_| Error::FewFiles)?;
    let max_connections = descriptors.connections(config.server.max_connections);
    if max_connections == 0 {
        return Err(Error::FewFiles);
    }
    let certificate = config.server.tls.as_ref().map(tls::Certificate::load).transpose()?;
    let public = listen("server.listen", config.server.listen)?;
    let admin = listen("admin.listen", config.admin.listen)?;
    let ready = Ready {
        public: public.local_addr()?,
        admin: admin.local_addr()?,
        tls: certificate.is_some(),
    };

    let server = socketio::Server::new(public::socketio(&config, max_connections));
    let metrics =
        Metrics::new(server.clone(), descriptors.clone(), config.directory.connect.is_some());
    let core = Arbiter::new();
    let registry = start(&core, Registry::default).await?;
    let behind = registry.clone();
    let sequencer = start(&core, move || Sequencer::new(behind)).await?;
    let around = Surroundings {
        context: zmq::Context::new(),
        registry: registry.clone(),
        sequencer: sequencer.clone(),
        metrics: metrics.clone(),
    };

    let context = around.context.clone();
    let notifiers = Fleet::new(core.handle(), around);
    for config in &config.notifiers {
        start_notifier(&notifiers, config.clone())?;
    }
    let counted = metrics.clone();
    let watch = start(&core, move || Watch::new(counted)).await?;
    let mut identities = identities::open(&config, &metrics, &watch).await?;
    let demo = if demo {
        identities.push(Identity::Dev);
        let (demo, notifier) = Demo::new(context);
        let endpoint = start_notifier(&notifiers, notifier)?;
        Some(demo.start(endpoint)?)
    } else if config.notifiers.is_empty() && config.directory.connect.is_none() {
        warn!(
            "no notifier configured advice=\"add a [[notifier]] table or a [directory]: nobody can announce anything\""
        );
        None
    } else {
        None
    };

    if identities.iter().any(|identity| matches!(identity, Identity::Dev)) {
        warn!("identity dev believes everyone who reaches the hub; never let a proxy reach it");
    }
    let identities: Arc<[Identity]> = identities.into();

    let directory = start_directory(&core, &config, &notifiers, &metrics).await?;
    let draining = Arc::new(AtomicBool::new(false));
    let hub = Data::new(Hub {
        server: server.clone(),
        max_connections,
        descriptors: descriptors.clone(),
        registry: registry.clone(),
        sequencer: sequencer.clone(),
        notifiers: notifiers.clone(),
        directory: directory.clone(),
        identities: identities.clone(),
        watch: watch.clone(),
        metrics: metrics.clone(),
        ready: Arc::default(),
        draining: draining.clone(),
        started: now(),
    });
    let gate = Gate {
        server: server.clone(),
        draining: draining.clone(),
        registry: registry.clone(),
        watch: watch.clone(),
        identities,
        listen: ready.public,
        metrics,
        limited: Limited::default(),
    };
    // Without a file to read anew, SIGHUP means what it always does.
    identities::reload_on_hangup(&config, &hub.identities, &watch)?;
    if let Some(certificate) = &certificate {
        certificate.reload_on_hangup()?;
    }
    let public_server = public::serve(&config, public, certificate, gate, demo)?;
    let admin_server = serve_admin(admin, hub.clone())?;
    let mut signals = drain::Signals::install()?;
    hub.ready.store(true, Ordering::Relaxed);
    info!("ready public={} admin={} max_connections={max_connections}", ready.public, ready.admin);
    announce(&ready);

    let outcome = tokio::select! {
        signal = signals.next() => {
            info!("shutting down signal={signal}");
            Ok(())
        }
        broken = broken(&registry, &sequencer, &watch) => Err(Error::Broken(broken)),
        never = keep_descriptors(&descriptors, &public_server) => never,
    };
    draining.store(true, Ordering::Relaxed);
    let servers = [&public_server, &admin_server];
    drain::drain(&server, &registry, &notifiers, directory.as_ref(), servers).await;
    outcome
}

fn listen(key: &'static str, address: SocketAddr) -> Result<TcpListener, Error> {
    let bound = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    bound().map_err(|source| Error::Listen { key, address, source })
}

/// Connections that may wait to be accepted: when a hub comes back, all its clients come at once.
const BACKLOG: i32 = 4096;

/// Starts an actor on an arbiter, and gives its address.
async fn start<A: Actor<Context = actix::Context<A>>>(
    on: &Arbiter,
    make: impl FnOnce() -> A + Send + 'static,
) -> io::Result<Addr<A>> {
    let (address, started) = tokio::sync::oneshot::channel();
    on.spawn_fn(move || {
        // Unbounded in messages: each sender bounds itself, as said at its sending.
        let actor = A::create(|ctx| {
            ctx.set_mailbox_capacity(0);
            make()
        });
        if address.send(actor).is_err() {
            error!("an actor was started for nobody");
        }
    });
    started.await.map_err(|_| io::Error::other("an arbiter has stopped"))
}

fn start_notifier(notifiers: &Fleet, config: NotifierConfig) -> Result<String, Error> {
    let name = config.name.clone();
    notifiers.start(config).map_err(|source| Error::Notifier { name, source })
}

/// Starts to ask the directory, if there is one.
async fn start_directory(
    on: &Arbiter,
    config: &Config,
    notifiers: &Fleet,
    metrics: &Metrics,
) -> io::Result<Option<Addr<Directory>>> {
    let Some(address) = config.directory.connect.clone() else { return Ok(None) };
    let terms = directory::Terms {
        address,
        refresh: config.directory.refresh,
        max_message: fitting_message(config.socketio.outbox),
    };
    let (notifiers, up) = (notifiers.clone(), metrics.directory_up());
    start(on, move || Directory::new(terms, notifiers, up)).await.map(Some)
}

fn serve_admin(listener: TcpListener, hub: Data<Hub>) -> io::Result<ServerHandle> {
    let app = move || {
        actix_web::App::new()
            .wrap(actix_web::middleware::from_fn(admin::guard))
            .configure(admin::configure(hub.clone()))
    };
    let server = actix_web::HttpServer::new(app).workers(1).disable_signals().listen(listener)?;
    let server = server.run();
    let handle = server.handle();
    actix::spawn(server);
    Ok(handle)
}

/// Waits until a part stops that cannot be replaced: who is here is known nowhere else.
async fn broken(
    registry: &Addr<Registry>,
    sequencer: &Addr<Sequencer>,
    watch: &Addr<Watch>,
) -> &'static str {
    let mut every = tokio::time::interval(Duration::from_millis(500));
    loop {
        every.tick().await;
        if !registry.connected() {
            return "registry";
        }
        if !sequencer.connected() {
            return "sequencer";
        }
        if !watch.connected() {
            return "watch over sessions";
        }
    }
}

/// Lets nobody in while too few open files are left.
async fn keep_descriptors(descriptors: &Descriptors, public: &ServerHandle) -> ! {
    let mut every = tokio::time::interval(LOOK_EVERY);
    loop {
        every.tick().await;
        match descriptors.look() {
            Some(Change::Short) => {
                public.pause().await;
                descriptors.let_go();
            }
            Some(Change::Enough) => public.resume().await,
            None => {}
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the start of the hub")]
fn now() -> Instant {
    Instant::now()
}
