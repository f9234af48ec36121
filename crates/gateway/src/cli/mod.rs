//! The command line: what can be said, and the help that teaches it.

mod backfill;
mod client;
mod data;
mod dlq;
mod flow;
mod import;
mod log;
mod token;
mod trace;

pub use backfill::BackfillArgs;
pub use client::{GuestLogin, PubArgs, SubArgs};
pub use data::{DataArgs, DataFormat};
pub use dlq::{DeadLetterChoice, DlqCommand};
pub use flow::{ActionName, DevicePreset, FlowCommand, FlowFields, LearnArgs};
pub use import::{ImportCommand, ImportTarget};
pub use log::LogArgs;
pub use token::{ScopeName, TokenCommand};
pub use trace::TraceArgs;

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "hearthgate",
    version,
    about = "A unified MQTT gateway: device interfaces, flows and a broker in one program",
    after_help = "Examples:\n  \
        hearthgate                                  run, without any configuration if need be\n  \
        hearthgate check                            would it work? line by line\n  \
        hearthgate config show                      what is in force, and where it comes from\n  \
        hearthgate explain sensors/aht10 '{\"temperature\":23.5,\"humidity\":65.2}'\n  \
        hearthgate --set mqtt.server=mqtt://broker.home run\n\n\
        Exit codes: 0 done, 1 findings, 64 wrong usage, 69 something needed is not available, 70 internal error, \
        78 configuration.",
    disable_help_subcommand = true
)]
pub struct CommandLine {
    /// Flags that every command takes.
    #[command(flatten)]
    pub global: GlobalFlags,
    /// What to do; absent: run.
    #[command(subcommand)]
    pub command: Option<CliCommand>,
}

/// Flags that every command takes.
#[derive(Clone, Debug, Args)]
pub struct GlobalFlags {
    /// Configuration file [default: ./hearthgate.toml, then $XDG_CONFIG_HOME/hearthgate/, then /etc/hearthgate/]
    #[arg(short, long, global = true, value_name = "FILE", env = "HEARTHGATE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Set one key, above every other layer; may be repeated
    #[arg(long, global = true, value_name = "SECTION.KEY=VALUE", value_parser = key_value)]
    pub set: Vec<(String, String)>,
    /// Short for --set log.level=LEVEL
    #[arg(long, global = true, value_name = "LEVEL")]
    pub log_level: Option<String>,
}

#[derive(Debug, thiserror::Error)]
#[error("expected section.key=value, such as mqtt.server=mqtt://broker.home")]
struct KeyValueError;

fn key_value(text: &str) -> Result<(String, String), KeyValueError> {
    match text.split_once('=') {
        Some((key, value)) if key.split('.').all(|part| !part.is_empty()) => Ok((key.to_owned(), value.to_owned())),
        _ => Err(KeyValueError),
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum CliCommand {
    /// Run the gateway (the default)
    Run,
    /// Check configuration, maps, flows, and what must be reachable
    #[command(
        after_help = "Changes nothing. Exit code 0: it would work; 1: findings; 69: something can't be reached; \
        78: the configuration is wrong."
    )]
    Check {
        /// Leave out everything that needs a network or a database
        #[arg(long)]
        offline: bool,
        /// Answer as JSON: one object with all findings
        #[arg(long)]
        json: bool,
    },
    /// Show the configuration in force, or its schema
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Translate messages through a map file, as an interface would
    #[command(subcommand)]
    Map(MapCommand),
    /// Try out topic filters
    #[command(subcommand)]
    Topic(TopicCommand),
    /// Try out payload schemas
    #[command(subcommand)]
    Schema(SchemaCommand),
    /// Tell what would become of one message; nothing is changed
    #[command(after_help = "Examples:\n  \
        hearthgate explain sensors/aht10 '{\"temperature\":23.5,\"humidity\":65.2}'\n  \
        hearthgate explain sensors/aht10 @sample.json --json\n  \
        mosquitto_sub -C 1 -t sensors/aht10 | hearthgate explain sensors/aht10 -")]
    Explain {
        /// Topic of the message
        topic: String,
        /// Its payload; @FILE reads a file, - standard input
        payload: String,
        /// Answer as JSON
        #[arg(long)]
        json: bool,
    },
    /// Tell what became of the last messages, also of those from before a restart
    #[command(after_help = "Examples:\n  \
        hearthgate trace --outcome bad\n  \
        hearthgate trace 'sensors/#' --flow AHT10_SENSOR --json\n\n\
        Kept are the newest 20 of each flow and outcome; the many good ones are sampled.")]
    Trace(TraceArgs),
    /// Show how the components of the running gateway are doing
    #[command(after_help = "Examples:\n  \
        hearthgate status                      exit code 0: ready; 1: not ready; 69: no gateway answers\n  \
        hearthgate status --watch              again every two seconds, until Ctrl-C\n  \
        hearthgate status --json | jq .failing")]
    Status {
        /// Answer as JSON
        #[arg(long)]
        json: bool,
        /// Again every two seconds
        #[arg(long, conflicts_with = "json")]
        watch: bool,
    },
    /// Show on the whole terminal how the components are doing, every two seconds; elsewhere once
    #[command(after_help = "Ctrl-C ends it.")]
    Top,
    /// Have the running gateway read flows and maps again
    #[command(
        after_help = "SIGHUP does the same: systemctl reload hearthgate. Changes by hearthgate itself, and of map files while \
        mapper.watch is on, need no reload."
    )]
    Reload,
    /// Show the log's level, or set another one for some time
    #[command(after_help = log::LOG_HELP)]
    Log(LogArgs),
    /// Restart one component of the running gateway
    #[command(after_help = CONTROL_HELP)]
    Restart(ComponentName),
    /// Let a parked component go on
    #[command(after_help = CONTROL_HELP)]
    Resume(ComponentName),
    /// Stop one component of the running gateway
    #[command(after_help = CONTROL_HELP)]
    Stop(ComponentName),
    /// Start a stopped component
    #[command(after_help = CONTROL_HELP)]
    Start(ComponentName),
    /// Create, upgrade and inspect the tables
    #[command(subcommand)]
    Db(DbCommand),
    /// Read back what a flow has stored, summed up in at most 500 windows
    #[command(after_help = "Examples:\n  \
        hearthgate data CLIMATE --key room=kitchen --since 7d --field temperature --format chart\n  \
        hearthgate data CLIMATE --since 1y --every 1d --format csv > year.csv")]
    Data(DataArgs),
    /// Take old messages through a flow as it is now, into the flow's own table
    #[command(after_help = "Examples:\n  \
        hearthgate backfill CLIMATE --since 90d --dry-run\n  \
        hearthgate backfill CLIMATE --since 90d --yes\n\n\
        The source is the table data. Says first what would be done. Cut off, it goes on where it was when it is \
        called again.")]
    Backfill(BackfillArgs),
    /// Review and drop what could not be delivered
    #[command(subcommand)]
    Dlq(DlqCommand),
    /// List, change, test and move flows
    #[command(subcommand)]
    Flow(FlowCommand),
    /// Work on device interfaces
    #[command(subcommand)]
    Interface(InterfaceCommand),
    /// Print what comes on topics of the gateway's broker
    #[command(after_help = client::SUB_HELP)]
    Sub(SubArgs),
    /// Publish one message at the gateway's broker
    #[command(after_help = client::PUB_HELP)]
    Pub(PubArgs),
    /// Work on the embedded broker
    #[command(subcommand)]
    Broker(BrokerCommand),
    /// Make, list and revoke tokens of the page and the API
    #[command(subcommand)]
    Token(TokenCommand),
    /// Write a commented configuration file to start from
    #[command(after_help = INIT_HELP)]
    Init(InitArgs),
    /// Move in from another gateway: its configuration as one of ours
    #[command(subcommand)]
    Import(ImportCommand),
    /// Copy everything that must survive into one file, while the gateway runs
    #[command(after_help = BACKUP_HELP)]
    Backup {
        /// The file to write; it must not be there yet
        file: PathBuf,
        /// Also the configuration file as it is, with the secrets in it
        #[arg(long)]
        with_secrets: bool,
    },
    /// Put a backup in the place of what is there; the gateway must be stopped
    #[command(after_help = RESTORE_HELP)]
    Restore {
        /// A file that `hearthgate backup` has written
        file: PathBuf,
        /// Only check the file, and say what is in it
        #[arg(long)]
        verify: bool,
        /// Move what is there aside, to a folder beside it
        #[arg(long)]
        replace: bool,
    },
    /// Collect what a bug report needs into one text file, without secrets
    #[command(
        after_help = "Read it before you send it. It holds the version, the machine, the configuration with its \
        secrets hidden, the findings of `check`, and the state of the running gateway; no payloads, and no log."
    )]
    Doctor {
        /// The file to write; - or absent: standard output
        file: Option<PathBuf>,
    },
    /// Print a chapter of the book, or which chapters there are; needs no network
    #[command(after_help = "Examples:\n  hearthgate docs\n  hearthgate docs flows | less")]
    Docs {
        /// The chapter
        chapter: Option<String>,
    },
    /// Print completions for a shell
    #[command(after_help = "Examples:\n  \
        hearthgate completions bash > ~/.local/share/bash-completion/completions/hearthgate\n  \
        hearthgate completions zsh > ~/.zfunc/_hearthgate\n  \
        hearthgate completions fish > ~/.config/fish/completions/hearthgate.fish")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write one page for each command
    #[command(after_help = "Example:\n  hearthgate man | man -l -")]
    Man {
        /// Folder to write hearthgate.1, hearthgate-check.1, … into
        folder: Option<PathBuf>,
    },
}

const INIT_HELP: &str = "Examples:\n  \
    hearthgate init                                        with the embedded broker and SQLite\n  \
    hearthgate init --server mqtt://broker.lan --username gateway\n  \
    hearthgate init --database postgres://gateway@db.lan/iot --folder /etc/hearthgate\n\n\
    An existing file is never overwritten. Then: hearthgate check, and hearthgate run.";

const BACKUP_HELP: &str = "Example, every night:\n  \
    hearthgate backup /var/backups/hearthgate-$(date +%F).tar\n\n\
    The file holds the journal, the SQLite database, dead letters, sessions and retained messages of the embedded broker, \
    and what is known to the remote one. A MariaDB or PostgreSQL database is not in it: take its own backup just before. \
    The file is as secret as the messages in it, and only its owner can read it.";

const RESTORE_HELP: &str = "Example:\n  \
    systemctl stop hearthgate\n  \
    hearthgate restore /var/backups/hearthgate-2026-11-27.tar --replace\n  \
    systemctl start hearthgate\n\n\
    Nothing is touched before the whole file is checked. What is there is refused, or with --replace moved aside. As root, \
    the files get the owner of the state folder.";

/// What `init` writes.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The broker, as mqtt.server
    #[arg(long, value_name = "URL", default_value = "embedded")]
    pub server: String,
    /// User at that broker; the password goes into the file secrets/mqtt
    #[arg(long)]
    pub username: Option<String>,
    /// The database, as database.url
    #[arg(long, value_name = "URL", default_value = "sqlite:data/hearthgate.db")]
    pub database: String,
    /// Name of this installation, as gateway.name
    #[arg(long, default_value = "hearthgate")]
    pub name: String,
    /// Folder of the new hearthgate.toml
    #[arg(long, default_value = ".")]
    pub folder: PathBuf,
}

const CONTROL_HELP: &str = "Parts are named as in `hearthgate status`: mqtt, mapper, router, writer, poster, … and each \
    interface by its name. The running gateway is reached at http.listen; http.token is shown to it.";

/// A component of the running gateway.
#[derive(Debug, Args)]
pub struct ComponentName {
    /// Its name, as in `hearthgate status`
    pub name: String,
}

/// `config …`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Every value in force with its origin; secrets are hidden
    Show {
        /// Only what is not a default
        #[arg(long)]
        changed: bool,
        /// Answer as JSON
        #[arg(long)]
        json: bool,
    },
    /// The JSON Schema of the configuration file, for editors
    Schema,
    /// The commented default configuration, a starting point of your own file
    Default,
}

/// `map …`
#[derive(Debug, Subcommand)]
pub enum MapCommand {
    /// From MQTT: lines {"topic","payload"} in, {"ok":{message}} or {"error"} out
    #[command(after_help = "Example:\n  \
        echo '{\"topic\":\"home/lighting//kitchen//me/C\",\"payload\":\"light_on\"}' | hearthgate map decode --map maps/home.json --name entry")]
    Decode(MapArgs),
    /// To MQTT: lines with a message in, {"ok":{"topic","payload"}} or {"error"} out
    Encode(MapArgs),
}

/// Which map, and for whom.
#[derive(Debug, Args)]
pub struct MapArgs {
    /// The map file
    #[arg(long, value_name = "FILE")]
    pub map: PathBuf,
    /// Name of the interface: the default sender, and whose own messages are echoes
    #[arg(long)]
    pub name: String,
}

/// `topic …`
#[derive(Debug, Subcommand)]
pub enum TopicCommand {
    /// Lines {"filter","topic"} in, {"match":bool} or {"error"} out
    Match,
}

/// `schema …`
#[derive(Debug, Subcommand)]
pub enum SchemaCommand {
    /// Lines {"schema","payload"} in, {"valid":true}, {"valid":false,"errors":[…]} or {"error"} out
    Validate,
}

/// `db …`
#[derive(Debug, Subcommand)]
pub enum DbCommand {
    /// Create and upgrade our tables
    Migrate,
    /// Show which upgrades are in
    Status,
    /// Rows, bytes, growth a day, and when the disk will be full
    Size {
        /// Answer as JSON
        #[arg(long)]
        json: bool,
    },
    /// The index of `data` that reading needs: its statement, its cost, and whether it is there
    Index {
        /// Make it; rows go on being written meanwhile
        #[arg(long)]
        apply: bool,
    },
    /// Remove the rows that are older than their flows keep them; the running gateway does so by itself
    Purge {
        /// Only tell what would go
        #[arg(long)]
        dry_run: bool,
    },
}

/// `interface …`
#[derive(Debug, Subcommand)]
pub enum InterfaceCommand {
    /// Write a working skeleton with its map and its configuration
    #[command(after_help = "Example:\n  hearthgate interface new radio --language python\n\
        Writes interfaces/radio/…, maps/radio.json, and prints the section to add to the configuration.")]
    New {
        /// Name of the interface
        name: String,
        /// Language of the skeleton
        #[arg(long, value_enum, default_value_t = SkeletonLanguage::Python)]
        language: SkeletonLanguage,
        /// Folder to write into
        #[arg(long, default_value = ".")]
        folder: PathBuf,
    },
}

/// Language of a skeleton.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SkeletonLanguage {
    /// Python 3
    Python,
    /// POSIX shell
    Shell,
}

/// `broker …`
#[derive(Debug, Subcommand)]
pub enum BrokerCommand {
    /// Ask for a password and print the section of a user
    #[command(
        after_help = "The password is asked for on a terminal, else read as the first line of standard input:\n  \
        hearthgate broker passwd garden >> hearthgate.toml"
    )]
    Passwd {
        /// Name of the user
        name: String,
    },
}
