//! What is to be done in a run.

use clap::ValueEnum;
use rumqttc::QoS;
use std::fmt;

/// The gateway's database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DatabaseKind {
    /// A file in the state folder
    Sqlite,
    /// A server of the run's own
    Mariadb,
    /// A server of the run's own
    Postgres,
}

/// The gateway's broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BrokerKind {
    /// Keeps the gateway's session while the gateway is away
    Mosquitto,
    /// In the gateway's process: dies and comes back with it
    Embedded,
}

/// What the messages say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Payloads {
    /// Each another number
    Distinct,
    /// All the same
    Equal,
}

/// What is done to the gateway and what it lives on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Fault {
    /// kill -9 of the gateway, sometimes again while it starts
    Kill,
    /// SIGSTOP, later SIGCONT
    Stop,
    /// Mosquitto is stopped and started again with its sessions
    Broker,
    /// Mosquitto is stopped and has forgotten everything when it starts again
    BrokerSession,
    /// The database server is stopped or killed, and started again; SQLite: locked for writing
    Database,
    /// The endpoint answers 503, or not at all
    Endpoint,
    /// The connection to the broker is cut, wherever it is
    Cut,
    /// An actor panics, fails, or freezes for a while (needs a binary with fault injection: a test build)
    Panic,
    /// The state folder's disk is full (needs root: it is a tmpfs)
    Disk,
}

impl Fault {
    /// Every one.
    pub const ALL: [Fault; 9] = [
        Fault::Kill,
        Fault::Stop,
        Fault::Broker,
        Fault::BrokerSession,
        Fault::Database,
        Fault::Endpoint,
        Fault::Cut,
        Fault::Panic,
        Fault::Disk,
    ];
}

/// A run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// `kill -9`s.
    pub kills: usize,
    /// Faults of each other kind.
    pub others: usize,
    /// Of publishing, 1 or 2.
    pub qos: QoS,
    /// See the type.
    pub database: DatabaseKind,
    /// See the type.
    pub broker: BrokerKind,
    /// See the type.
    pub payloads: Payloads,
    /// The kinds that take part.
    pub faults: Vec<Fault>,
    /// All that is random comes from it.
    pub seed: u64,
    /// Messages a second.
    pub rate: u64,
    /// Messages that the publisher has in flight at most.
    pub window: usize,
    /// At least so many messages.
    pub messages: u64,
    /// Progress on standard error.
    pub verbose: bool,
}

impl Plan {
    /// The faults in their order.
    #[must_use]
    pub fn schedule(&self, random: &mut fastrand::Rng) -> Vec<Fault> {
        let kinds = Fault::ALL.into_iter().filter(|fault| self.faults.contains(fault) && self.has(*fault));
        let mut all: Vec<Fault> = kinds
            .flat_map(|fault| {
                let count = if fault == Fault::Kill { self.kills } else { self.others };
                std::iter::repeat_n(fault, count)
            })
            .collect();
        random.shuffle(&mut all);
        all
    }

    /// The embedded broker has no life of its own that could be ended.
    fn has(&self, fault: Fault) -> bool {
        self.broker == BrokerKind::Mosquitto || !matches!(fault, Fault::Broker | Fault::BrokerSession)
    }

    /// Whether the state folder must be a disk of its own.
    #[must_use]
    pub fn needs_disk(&self) -> bool {
        self.others > 0 && self.faults.contains(&Fault::Disk)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:?}, {:?}, {:?}", self.database, self.broker, self.payloads).to_lowercase();
        formatter.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_faults_again() {
        let plan = Plan {
            kills: 20,
            others: 2,
            qos: QoS::AtLeastOnce,
            database: DatabaseKind::Sqlite,
            broker: BrokerKind::Embedded,
            payloads: Payloads::Distinct,
            faults: Fault::ALL.to_vec(),
            seed: 7,
            rate: 100,
            window: 10,
            messages: 0,
            verbose: false,
        };
        let schedule = |seed| plan.schedule(&mut fastrand::Rng::with_seed(seed));
        assert_eq!(schedule(7), schedule(7));
        assert_ne!(schedule(7), schedule(8));
        assert_eq!(schedule(7).len(), 20 + 6 * 2, "an embedded broker is not stopped alone");
    }
}
