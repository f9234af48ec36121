//! Binds the API and makes the server that runs it.

use crate::keys::AccessKeys;
use crate::page::PagePolicy;
use crate::settings::ApiOptions;
use crate::state::ServerDeps;
use crate::table::{self, OperationRights};
use crate::{access, exposition};
use actix_web::middleware::{DefaultHeaders, from_fn};
use actix_web::web::Data;
use actix_web::{App, HttpServer, dev};
use std::net::{SocketAddr, TcpListener};

/// Seconds that open requests get when the server is stopped.
const SHUTDOWN_TIMEOUT: u64 = 2;
/// Connections at a time: people, each with a stream of events a tab, and scrapers.
const MAX_CONNECTIONS: usize = 256;

/// The API could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Somebody else listens there, or we may not.
    #[error("opening the HTTP API on {0}: is another gateway running there? set [http] listen to a free address")]
    Bind(SocketAddr, #[source] std::io::Error),
}

/// The bound API. It answers once [`run`](Server::run) is polled.
#[derive(Debug)]
pub struct ApiServer {
    local: SocketAddr,
    listener: TcpListener,
    settings: ApiOptions,
}

/// Binds the API, so that an address in use is an error at start and not a log line later.
///
/// # Errors
/// See [`AdminError`].
pub fn bind(settings: ApiOptions) -> Result<ApiServer, AdminError> {
    exposition::note_start();
    let failed = |error| AdminError::Bind(settings.bind(), error);
    let listener = TcpListener::bind(settings.bind()).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let local = listener.local_addr().map_err(failed)?;
    Ok(ApiServer { local, listener, settings })
}

impl ApiServer {
    /// Where it listens; tells the port when 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The server, with one worker thread of its own: a blocked actor does not block the API. Poll it for as long as it is to
    /// run, and end it through its `handle().stop(true)`; merely dropping it leaves its threads behind. It does not listen
    /// to signals: the gateway orders the shutdown. A panic in a handler ends one connection, and a dead worker is replaced.
    ///
    /// # Errors
    /// [`AdminError::Bind`] when the listener cannot be used.
    pub fn run(self, parts: ServerDeps) -> Result<dev::Server, AdminError> {
        let ApiServer { local, listener, settings } = self;
        let keys = Data::new(AccessKeys::new(&settings));
        let policy = Data::new(PagePolicy::new(settings.frame_ancestors()));
        let (settings, parts, rights) = (Data::new(settings), Data::new(parts), Data::new(OperationRights::new()));
        let app = move || {
            App::new()
                .app_data(settings.clone())
                .app_data(parts.clone())
                .app_data(keys.clone())
                .app_data(rights.clone())
                .app_data(policy.clone())
                .wrap(from_fn(access::gate))
                .wrap(
                    DefaultHeaders::new().add(("Cache-Control", "no-store")).add(("X-Content-Type-Options", "nosniff")),
                )
                .configure(table::configure)
        };
        let server = HttpServer::new(app)
            .workers(1)
            .max_connections(MAX_CONNECTIONS)
            .shutdown_timeout(SHUTDOWN_TIMEOUT)
            .disable_signals()
            .listen(listener)
            .map_err(|error| AdminError::Bind(local, error))?;
        Ok(server.run())
    }
}
