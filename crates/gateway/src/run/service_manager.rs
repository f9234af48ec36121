//! What the service manager is told, by systemd's protocol (`man sd_notify`): ready, reloading, stopping, and still alive.

use hearthgate_supervision::{ActorRegistry, ActorStatus};
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::{error, warn};

/// The service manager that started us, if one did and wants to be told.
pub(super) struct ServiceManager {
    socket: Option<UnixDatagram>,
    watchdog: Option<Interval>,
    is_withheld: bool,
}

impl ServiceManager {
    /// Reads `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    pub(super) fn of_environment() -> Self {
        let socket = std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()).and_then(|path| {
            let connected = connect(&path);
            connected.inspect_err(|error| warn!(%error, "the service manager can't be told anything")).ok()
        });
        let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let is_ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let period = number("WATCHDOG_USEC").filter(|micros| *micros > 0 && is_ours).map(Duration::from_micros);
        let watchdog = period.filter(|_| socket.is_some()).map(|period| {
            // Half of it, as systemd advises.
            let mut ticks = interval(period / 2);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        ServiceManager { socket, watchdog, is_withheld: false }
    }

    /// Everything runs.
    pub(super) fn ready(&self) {
        self.tell("READY=1\nSTATUS=Running");
    }

    /// Something is read anew, or the program starts itself again; [`ServiceManager::ready`] ends it.
    pub(super) fn reloading(&self) {
        self.tell("RELOADING=1\nSTATUS=Reloading");
    }

    /// The end has begun.
    pub(super) fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=Stopping");
    }

    /// Waits until a sign of life is due; for ever where nobody waits for one.
    pub(super) async fn due(&mut self) {
        match &mut self.watchdog {
            Some(ticks) => {
                ticks.tick().await;
            }
            None => std::future::pending().await,
        }
    }

    /// Gives a sign of life, unless a part hangs: then the service manager is to end and start the program.
    pub(super) fn show_life(&mut self, registry: &ActorRegistry) {
        let hangs = registry.list().into_iter().find(|health| {
            health.status == ActorStatus::Unresponsive || (health.essential && health.status == ActorStatus::Parked)
        });
        match hangs {
            None => {
                self.is_withheld = false;
                self.tell("WATCHDOG=1");
            }
            Some(part) if !self.is_withheld => {
                self.is_withheld = true;
                error!(part = %part.name, "a part does not answer; the service manager will start the gateway again");
                self.tell(&format!("STATUS={} does not answer", part.name));
            }
            Some(_) => {}
        }
    }

    fn tell(&self, text: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(text.as_bytes())
        {
            warn!(%error, "the service manager was not told");
        }
    }
}

/// A path, or, behind an `@`, an abstract name.
fn connect(path: &OsStr) -> io::Result<UnixDatagram> {
    let address = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(OsStr::from_bytes(path))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    // Nothing waits for a service manager that does not read.
    socket.set_nonblocking(true)?;
    Ok(socket)
}
