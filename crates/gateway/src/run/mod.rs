//! The running gateway: from the settings to the actors and back to an exit code.

mod banner;
mod service_manager;
mod shutdown;
mod subjects;

use crate::exit::{CommandFailure, ExitStatus};
use crate::requirements::closed_listener;
use crate::telemetry::TelemetryGuard;
use crate::wiring::RunningGateway;
use anyhow::Context as _;
use hearthgate_api::{AdminError, ApiServer, MetricStore, ServerDeps};
use hearthgate_settings::LoadedSettings;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use service_manager::ServiceManager;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};

/// What comes after a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterRun {
    /// The program ends.
    End(ExitStatus),
    /// The program is to be started again, with the configuration as it is now.
    StartAgain,
}

/// Runs until a signal, until an essential part is given up, or until somebody wants it to be started again; then `usable`
/// says whether that would work.
///
/// # Errors
/// Something that only the user can mend: a port in use, a state folder that cannot be written.
pub fn run(
    loaded: &LoadedSettings,
    telemetry: &TelemetryGuard,
    usable: impl Fn() -> anyhow::Result<()>,
) -> anyhow::Result<AfterRun> {
    raise_file_limit();
    actix::System::new().block_on(async {
        let mut signals = Signals::new()?;
        let mut manager = ServiceManager::of_environment();
        let metrics = MetricStore::install().context("preparing metrics")?;
        let http = bind_http(loaded)?;
        let running = crate::wiring::start(loaded, &telemetry.notices).await?;
        banner::print(loaded, &running);
        let mut http = match http {
            Some(server) => Some(server.run(ServerDeps {
                registry: running.registry.clone(),
                readiness: running.readiness(),
                flows: running.flow_orders(),
                metrics: metrics.clone(),
                subjects: subjects::subjects(loaded, &running, &metrics, &telemetry.level),
                version: env!("CARGO_PKG_VERSION"),
            })?),
            None => None,
        };
        manager.ready();
        let next = serve(&running, &mut signals, &mut manager, &mut http, usable).await;
        match next {
            // Told that it stops, it would not let us start again.
            AfterRun::StartAgain => manager.reloading(),
            AfterRun::End(_) => manager.stopping(),
        }
        info!("stopping; a second signal ends at once");
        let patience = loaded.settings.gateway.shutdown_timeout.0;
        tokio::select! {
            finished = tokio::time::timeout(patience, shutdown::in_order(&running)) => if finished.is_err() {
                warn!(timeout = ?patience, "not everything was finished in time; what is left is safe in the journal");
            },
            () = signals.ended() => warn!("ended at once"),
        }
        Ok(next)
    })
}

/// Each client of the broker is an open file, and the usual limit of 1,024 is a soft one: we may raise it.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        warn!(%error, limit = ?limit.current, "the number of open files stays limited");
    }
}

/// Waits for the reason to end.
async fn serve(
    running: &RunningGateway,
    signals: &mut Signals,
    manager: &mut ServiceManager,
    http: &mut Option<actix_web::dev::Server>,
    usable: impl Fn() -> anyhow::Result<()>,
) -> AfterRun {
    loop {
        let api = async {
            match http.as_mut() {
                Some(server) => server.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ended = api => {
                error!(?ended, "the HTTP API has ended; everything else goes on");
                *http = None;
            }
            is_end = signals.next() => {
                if is_end {
                    return AfterRun::End(ExitStatus::Ok);
                }
                info!("reloading flows and maps");
                manager.reloading();
                running.reload();
                manager.ready();
            }
            () = manager.due() => manager.show_life(&running.registry),
            failure = running.registry.essential_failure() => {
                error!(part = %failure.actor, reason = %failure.error, "an essential part is given up; the gateway ends");
                return AfterRun::End(ExitStatus::Internal);
            }
            () = running.restart_wanted.notified() => match usable() {
                Ok(()) => return AfterRun::StartAgain,
                Err(reason) => error!("not restarted by order, since it would not start again: {reason:#}"),
            },
        }
    }
}

/// Takes the API's port before anything is started, so that one in use is told at once.
fn bind_http(loaded: &LoadedSettings) -> anyhow::Result<Option<ApiServer>> {
    let http = &loaded.settings.http;
    if !http.enabled {
        return Ok(None);
    }
    let settings = hearthgate_api::ApiOptions::new(http.listen.0, http.token.clone(), http.names.clone())
        .map_err(|error| CommandFailure::Config(error.to_string()))?
        .with_state_dir(loaded.settings.gateway.state_dir.clone())
        .with_frame_ancestors(http.frame_ancestors.clone());
    let server = hearthgate_api::bind(settings).map_err(|AdminError::Bind(_, why)| {
        CommandFailure::Unavailable(closed_listener(loaded, "http.listen", &http.listen, &why).to_string())
    })?;
    Ok(Some(server))
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let on =
            |kind| signal(kind).map_err(|error| CommandFailure::Unavailable(format!("listening to signals: {error}")));
        Ok(Signals {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
            hangup: on(SignalKind::hangup())?,
        })
    }

    async fn ended(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// The next signal: true to end, false to reload.
    async fn next(&mut self) -> bool {
        tokio::select! {
            _ = self.terminate.recv() => true,
            _ = self.interrupt.recv() => true,
            _ = self.hangup.recv() => false,
        }
    }
}
