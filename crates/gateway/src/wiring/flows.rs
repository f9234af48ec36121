//! The flows: the journal and everyone around it.

use super::running::{Conditions, FlowCommands};
use crate::database;
use crate::exit::CommandFailure;
use crate::wiring::slots::IntakeSlots;
use crate::wiring::spawner::{ActorSlot, ActorSpawner};
use crate::wiring::{homeassistant, notify, options, secrets};
use anyhow::Context as _;
use hearthgate_actors::condition::Condition;
use hearthgate_actors::flows::poster::{SecretFailure, WaitingFlows};
use hearthgate_actors::flows::{catalog, commit, dead_letters, historian, poster, router, silence, writer};
use hearthgate_actors::in_hand::InHand;
use hearthgate_actors::mqtt::LinkStatus;
use hearthgate_actors::mqtt::progress::ConsumerProgress;
use hearthgate_domain::routing::RoutingTable;
use hearthgate_settings::{GatewaySettings, WhenFullSetting};
use hearthgate_storage::dead_letters::DeadLetters;
use hearthgate_storage::journal::{ConsumerStart, Journal};
use hearthgate_storage::sql::MqttServer;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;
use tracing::{error, info};

/// The journal and everyone around it.
///
/// # Errors
/// The journal or the dead letters can not be opened.
pub(super) async fn wire(
    starter: &mut ActorSpawner<'_>,
    settings: &GatewaySettings,
    IntakeSlots { mqtt, interests, traffic, .. }: &IntakeSlots,
    router: &ActorSlot<router::FlowRouterActor, router::RouterDeps>,
    server: Option<watch::Sender<Option<MqttServer>>>,
    link: watch::Receiver<LinkStatus>,
) -> anyhow::Result<(FlowCommands, Conditions)> {
    let state = &settings.gateway.state_dir;
    let journal = open_journal(settings, &state.join("journal"))?;
    let handle = journal.handle();
    // Before the first message comes in: who registers later would begin behind it.
    for consumer in [writer::CONSUMER, dead_letters::CONSUMER, poster::CONSUMER] {
        handle.register(consumer, ConsumerStart::Oldest).context("registering with the journal")?;
    }
    let (dead_letters, damaged) = DeadLetters::open_anew(&database::dead_letter_options(settings))
        .await
        .map_err(|error| CommandFailure::Unavailable(error.to_string()))?;
    if let Some(kept) = damaged {
        error!(kept = %kept.display(), "the file of dead letters is damaged: those in it, and what it had set aside, are not delivered");
    }
    let in_hand = Arc::new(InHand::open(&state.join("in-hand")));
    let own = notify::notice_flows(settings)?;
    let (table_tx, table) = watch::channel(Arc::new(RoutingTable::new(Vec::new()).with_own(own.clone())));
    let (database_tx, database) = watch::channel(None);
    let mut troubles = Vec::new();
    let mut trouble = |part| {
        let (trouble, seen) = Condition::new();
        troubles.push((part, seen));
        trouble
    };

    let board = Arc::new(silence::SilenceBoard::default());
    router.fill(router::RouterDeps {
        desk: Arc::new(Mutex::new(commit::JournalCommitter::new(journal))),
        table: table_tx,
        settled: mqtt.addr.clone().recipient(),
        wanted: mqtt.addr.clone().recipient(),
        progress: Arc::new(ConsumerProgress::default()),
        trouble: trouble("journal"),
        interests: Arc::clone(interests),
        traffic: traffic.clone(),
        sharing: router::FlowSharing { group: settings.mqtt.group.clone(), is_leaving: settings.mqtt.leave_group },
        letters: dead_letters.clone(),
        silence: Arc::clone(&board),
        rejects: settings.journal.when_full == WhenFullSetting::Reject,
        in_hand: Arc::clone(&in_hand),
    })?;
    let writer = starter.start("writer", writer::RecordWriterActor::new)?;
    writer.fill(writer::WriterDeps {
        journal: handle.clone(),
        database: database.clone(),
        table: table.clone(),
        letters: dead_letters.clone(),
        batch: settings.store.batch,
        linger: settings.store.linger.0,
        value_format: options::value_format(settings.flows.value_format),
        time_zone: settings.flows.time_zone.0.clone(),
        trouble: trouble("writer"),
        traffic: traffic.clone(),
        in_hand: Arc::clone(&in_hand),
    })?;
    let letters = starter.start("dead_letters", dead_letters::DeadLetterActor::new)?;
    letters.fill(dead_letters::DeadLetterDeps {
        journal: handle.clone(),
        table: table.clone(),
        letters: dead_letters.clone(),
        router: router.addr.clone().recipient(),
    })?;
    let historian = starter.start("historian", historian::HistorianActor::new)?;
    historian.fill(historian::HistorianDeps {
        database: database.clone(),
        table: table.clone(),
        trouble: trouble("historian"),
    })?;
    let catalog = starter.start("catalog", catalog::CatalogActor::new)?;
    let allowed = settings.secrets.clone();
    let waiting = Arc::new(WaitingFlows::default());
    let poster = starter.start("poster", poster::EndpointPosterActor::new)?;
    let attempts = poster::AttemptBoard::default();
    let endpoints = poster::DeliveryOptions {
        timeout: settings.endpoints.http_timeout.0,
        allowed_hosts: settings.endpoints.allow_hosts.clone(),
        allowed_local_hosts: settings.endpoints.allow_local_hosts.clone(),
        retry: options::retry(settings)?,
        breaker: options::breaker(settings),
        parallel: settings.endpoints.parallel,
        reload: catalog.addr.clone().recipient(),
        letters: dead_letters.clone(),
        database: database.clone(),
        publish: mqtt.addr.clone().recipient(),
        notifiers: notify::notifiers(settings)?,
        secrets: Arc::new(move |reference| {
            secrets::find_secret(reference, &allowed)
                .map_err(|error| SecretFailure { reason: error.to_string(), is_missing: error.is_missing() })
        }),
        waiting: Arc::clone(&waiting),
        table: Some(table.clone()),
        traffic: traffic.clone(),
        attempts: attempts.clone(),
    };
    poster.fill(poster::PosterDeps {
        journal: handle.clone(),
        table: table.clone(),
        endpoints: endpoints.clone(),
        in_hand,
        set_aside: settings.journal.set_aside.0,
    })?;
    let silence = starter.start("silence", silence::SilenceActor::new)?;
    silence.fill(silence::SilenceDeps {
        table,
        board: Arc::clone(&board),
        journal: handle.clone(),
        // Its notices are no messages of the flows in the table.
        endpoints: poster::DeliveryOptions { table: None, ..endpoints },
        prefix: options::status_prefix(settings),
        site: homeassistant::site(settings),
        publish: mqtt.addr.clone().recipient(),
        link,
        file: state.join("silence.json"),
    })?;
    catalog.fill(catalog::CatalogDeps {
        options: database::options(settings),
        database: database_tx,
        router: router.addr.clone().recipient(),
        own,
        reload_interval: settings.flows.reload_interval.0,
        cache: state.join("flows.json"),
        identity: state.join("database.id"),
        journal: handle.clone(),
        unloadable: watch::channel(Vec::new()).0,
        trouble: trouble("database"),
        server,
    })?;
    let flows = FlowCommands {
        journal: handle,
        catalog: catalog.addr,
        letters: letters.addr,
        database,
        dead_letters,
        silence: board,
        poster: poster.addr,
        attempts,
        waiting,
    };
    Ok((flows, troubles))
}

fn open_journal(settings: &GatewaySettings, folder: &Path) -> anyhow::Result<Journal> {
    let opened = Journal::open(folder, options::journal(settings));
    let (mut journal, recovery) = opened.map_err(|error| CommandFailure::Unavailable(error.to_string()))?;
    for damage in &recovery.damaged {
        error!(%damage, "the journal was damaged");
    }
    if recovery.positions_lost {
        error!(
            "how far endpoints and dead letters are is not known, the files positions.* were damaged: what the journal still \
             has is delivered again, with the same webhook-id; the database is not concerned"
        );
    }
    let messages = journal.owed().len();
    if messages > 0 {
        info!(messages, "messages of the last run may be delivered again; they will be recognised");
    }
    Ok(journal)
}
