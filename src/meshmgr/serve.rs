//! `meshmgr run`: from the configuration to a server that answers, and back to nothing on SIGTERM.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use socket2::SockRef;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::app::{self, App};
use super::core::{self, Core};
use super::keys::{self, Keys, ServerKey};
use super::loose::Loose;
use super::room::Room;
use super::{http, identity, news, paths, presence};
use crate::api::problem::{Exit, Problem};
use crate::config::meshmgr::Config;
use crate::linux::confine::{self, Duty};
use crate::linux::file;
use crate::mgmt::audit::Origin;
use crate::mgmt::backup::INCARNATION;
use crate::mgmt::certs::Lives;
use crate::store::{Embedded, Store, Transaction};
use crate::transport::server::{self, Limits};

/// The store's file in the state folder.
pub(super) const STORE: &str = "mesh.redb";
/// How often the server looks at the age of its own certificate.
const LOOK: Duration = Duration::from_hours(1);

/// The lives that the configuration gives.
pub(super) const fn lives(config: &Config) -> Lives {
    let certificates = config.certificates;
    Lives { node: certificates.node, server: certificates.server, person: certificates.admin }
}

/// Opens the store in the state folder.
///
/// # Errors
/// A [`Problem`] of the disk or the store.
pub(super) fn open_store(state: &Path) -> Result<Embedded, Problem> {
    file::take_dir(state, 0o700)
        .and_then(|()| file::refuse_loose(&state.join(STORE), 0o600))
        .map_err(|e| keys::disk(&e))?;
    Embedded::open(&state.join(STORE)).map_err(|e| core::problem(&e))
}

/// Begins the life of a store. One that has begun and holds nothing yet is as good as new.
///
/// # Errors
/// A [`Problem`] of the store; M0608 where it holds a mesh.
pub(super) fn begin(store: &dyn Store, folder: &Path) -> Result<(), Problem> {
    let range = store.range("").map_err(|e| core::problem(&e))?;
    match range.entries.as_slice() {
        [] => {
            let first = Transaction::new().expect(INCARNATION, None).write(INCARNATION, "1");
            store.commit(&first).map(|_| ()).map_err(|e| core::problem(&e))
        }
        [(key, _)] if key == INCARNATION => Ok(()),
        _ => {
            let what = format!("there is an installation already: {} holds its objects", folder.join(STORE).display());
            Err(Problem::new("M0608", Exit::Conflict, what)
                .note("nothing was changed")
                .help("its keys are missing: restore the keys folder from its backup")
                .help("to give it up for ever, move the state folder away first"))
        }
    }
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// A [`Problem`]: keys, store or socket.
pub(super) async fn run(config: Config, loose: Loose) -> Result<(), Problem> {
    let keys = Keys::load(&config.paths.keys, lives(&config))?;
    let state = config.paths.state.clone();
    let store = tokio::task::spawn_blocking(move || open_store(&state)).await;
    let store = store.map_err(|e| Problem::new("M0105", Exit::Failed, e.to_string()))??;
    let core = Core::load(Arc::new(store))?;
    let server_key = keys.server(config.certificates.server, crate::clock::wall())?;
    let tls = Arc::new(ArcSwap::new(tls_of(&keys, &server_key)?));
    let listener = listen(&config).await?;
    let (stop, stopping) = watch::channel(false);
    let version = core.view().version;
    let again = Keys::load(&config.paths.keys, lives(&config))?;
    let renewing = renew(again, config.certificates.server, Arc::clone(&tls));
    let renewing = tokio::spawn(renewing);
    let mut app =
        App::new(core, keys.authority, keys.psk, config.addresses.clone(), config.tunnel_prefix, stopping.clone());
    app.key_age = Some(config.rotation.wireguard);
    app.loose = loose;
    app.room = Some(Room::new(config.paths.state.clone()));
    let app = Arc::new(app);
    let router = http::router(&app);
    let started = format!("meshmgr {} serves version {version}", env!("CARGO_PKG_VERSION"));
    let origin = Origin::own(crate::clock::wall());
    app::blocking(&app, move |app| {
        app.note(origin.event("started", started, &[]));
        Ok(())
    })
    .await?;
    tokio::spawn(paths::run(Arc::clone(&app)));
    tokio::spawn(app::tell(Arc::clone(&app)));
    tokio::spawn(presence::run(Arc::clone(&app)));
    tokio::spawn(news::run(Arc::clone(&app)));
    tokio::spawn(identity::run(Arc::clone(&app), config.rotation.wireguard));
    tracing::info!(listen = %config.listen, %version, certificate_ends = %server_key.ends, "serving");
    ready();
    // From here on there is nothing to open but its own files, nothing to connect to and nothing to start.
    if let Err(error) = confine::seal_all(Duty::Manager) {
        app.loose.say(format!("it may make any system call: {error}"));
    }
    let serving = tokio::spawn(server::serve(listener, tls, Limits::default(), router, stopping));
    wait_for_signal().await?;
    tracing::info!("stopping");
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    stop.send_replace(true);
    renewing.abort();
    serving.await.map_err(|e| Problem::new("M0105", Exit::Failed, e.to_string()))
}

fn tls_of(keys: &Keys, own: &ServerKey) -> Result<Arc<ServerConfig>, Problem> {
    server::server_config(keys.ca(), &own.chain, &own.key)
        .map_err(|e| Problem::new("M0607", Exit::Failed, format!("the server certificate: {e}")))
}

fn ready() {
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        tracing::warn!(%error, "cannot tell systemd that the server is ready");
    }
}

/// Largest TCP segment of connections with this server, in both directions, bytes: the server announces it, so nodes and `meshctl` of all versions
/// keep to it (RFC 9293 section 3.7.1). With headers of IPv6 it is the smallest path that tunnels use (docs/mtu.md), 1200 bytes.
const MSS: u32 = 1140;

async fn listen(config: &Config) -> Result<TcpListener, Problem> {
    let listener = bind(config).await?;
    // A connection without it lives on ICMP that says what a path carries, which many paths swallow.
    if let Err(error) = SockRef::from(&listener).set_tcp_mss(MSS) {
        tracing::warn!(%error, "TCP segments to nodes are as large as the interface");
    }
    Ok(listener)
}

async fn bind(config: &Config) -> Result<TcpListener, Problem> {
    TcpListener::bind(config.listen).await.map_err(|error| {
        let what = format!("cannot listen on {}: {error}", config.listen);
        let problem = Problem::new("M0609", Exit::Failed, what).note("nothing was changed");
        #[expect(clippy::wildcard_enum_match_arm, reason = "not our enum, and not exhaustive")]
        match error.kind() {
            std::io::ErrorKind::AddrInUse => problem
                .help(format!("find who has it: ss -ltnp 'sport = :{}'", config.listen.port()))
                .help("or set another 'listen' in meshmgr.toml; tokens say 'addresses'"),
            std::io::ErrorKind::AddrNotAvailable => {
                problem.help("set 'listen' in meshmgr.toml to an address of this machine: ip address")
            }
            _ => problem,
        }
    })
}

/// Exchanges the server's certificate at two thirds of its life, without losing a connection.
pub(super) async fn renew(keys: Keys, life: Duration, tls: Arc<ArcSwap<ServerConfig>>) {
    loop {
        tokio::time::sleep(LOOK.min(life / 6)).await;
        let made = keys.server(life, crate::clock::wall());
        match made.and_then(|own| tls_of(&keys, &own)) {
            Ok(fresh) => tls.store(fresh),
            Err(problem) => tracing::error!(%problem, "cannot renew the server certificate"),
        }
    }
}

async fn wait_for_signal() -> Result<(), Problem> {
    let refused = |e: std::io::Error| Problem::new("M0113", Exit::Failed, format!("cannot wait for signals: {e}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(refused)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(refused)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_connects_sends_segments_that_fit_into_the_smallest_path_of_a_tunnel() {
        let config = Config::parse("m", "listen = '127.0.0.1:0'\naddresses = ['m:7443']\n").unwrap();
        let listener = listen(&config).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (client, server) = tokio::join!(tokio::net::TcpStream::connect(address), listener.accept());
        for stream in [client.unwrap(), server.unwrap().0] {
            let mss = SockRef::from(&stream).tcp_mss().unwrap();
            assert!((536..=MSS).contains(&mss), "{mss}");
        }
    }
}
