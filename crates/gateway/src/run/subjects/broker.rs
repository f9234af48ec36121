//! The embedded broker.

use crate::run::subjects::common::{unavailable, written};
use crate::wiring::BrokerPlace;
use hearthgate_api::wire::{BrokerRights, BrokerSummary, ClientView, RetainedList, RetainedView, RightsQuery};
use hearthgate_api::{BrokerView, ExposedFigure, SubjectAnswer, SubjectFailure};
use hearthgate_mqtt::broker::{BrokerFigures, ClientState, RetainedState, RightsQuestion, TopicRights};

/// Bytes of a retained payload that are shown.
const SHOWN: usize = 256;

pub(super) struct BrokerSubject(pub(super) BrokerPlace);

impl BrokerView for BrokerSubject {
    fn clients(&self) -> SubjectAnswer<BrokerSummary> {
        let BrokerPlace { listens, inspector } = self.0.clone();
        Box::pin(async move {
            let snapshot = inspector.snapshot().await.map_err(unavailable)?;
            Ok(BrokerSummary {
                listens: listens.iter().map(ToString::to_string).collect(),
                clients: snapshot.clients.into_iter().map(view).collect(),
                left_out: snapshot.left_out as u64,
                retained: snapshot.retained as u64,
                dropped: snapshot.dropped,
            })
        })
    }

    fn figures(&self) -> SubjectAnswer<Vec<ExposedFigure>> {
        let inspector = self.0.inspector.clone();
        Box::pin(async move {
            let figures = inspector.figures().await.map_err(unavailable)?;
            Ok(exposed(&figures))
        })
    }

    fn rights(&self, RightsQuery { user, client, topic }: RightsQuery) -> SubjectAnswer<BrokerRights> {
        let inspector = self.0.inspector.clone();
        Box::pin(async move {
            let user = user.filter(|user| !user.is_empty());
            let question = RightsQuestion { user, client_id: client, topic: topic.clone() };
            let rights = inspector.rights(question).await.map_err(unavailable)?;
            Ok(rights_view(topic, rights))
        })
    }

    fn retained(&self, under: String) -> SubjectAnswer<RetainedList> {
        let inspector = self.0.inspector.clone();
        Box::pin(async move {
            let found = inspector.retained(under).await.map_err(unavailable)?;
            let messages = found.messages.into_iter().map(retained_view).collect();
            Ok(RetainedList { messages, left_out: found.left_out as u64 })
        })
    }

    fn clear_retained(&self, topic: String) -> SubjectAnswer<()> {
        let inspector = self.0.inspector.clone();
        Box::pin(async move {
            match inspector.clear_retained(topic.clone()).await.map_err(unavailable)? {
                true => Ok(()),
                false => Err(SubjectFailure::Missing(format!("no message is retained for {topic:?}"))),
            }
        })
    }

    fn disconnect(&self, client: String) -> SubjectAnswer<()> {
        let inspector = self.0.inspector.clone();
        Box::pin(async move {
            match inspector.disconnect(client.clone()).await.map_err(unavailable)? {
                true => Ok(()),
                false => Err(SubjectFailure::Missing(format!("no client {client:?} is connected"))),
            }
        })
    }
}

fn retained_view(message: RetainedState) -> RetainedView {
    let shown = &message.payload[..message.payload.len().min(SHOWN)];
    let (text, hex) = written(shown);
    RetainedView { topic: message.topic, text, hex, bytes: message.payload.len() as u64 }
}

fn exposed(figures: &BrokerFigures) -> Vec<ExposedFigure> {
    let all = [
        ("hearthgate_broker_clients", "clients with a connection", figures.clients_connected),
        ("hearthgate_broker_sessions", "sessions, connected or kept", figures.clients_total),
        ("hearthgate_broker_subscriptions", "subscriptions of all sessions", figures.subscriptions),
        ("hearthgate_broker_retained_messages", "retained messages", figures.retained),
        ("hearthgate_broker_queued_messages", "messages that wait for clients", figures.messages_queued),
        ("hearthgate_broker_received_packets_total", "packets of clients", figures.packets_received),
        ("hearthgate_broker_sent_packets_total", "packets to clients", figures.packets_sent),
        ("hearthgate_broker_received_bytes_total", "bytes of clients", figures.bytes_received),
        ("hearthgate_broker_sent_bytes_total", "bytes to clients", figures.bytes_sent),
        ("hearthgate_broker_received_messages_total", "messages that clients published", figures.messages_received),
        ("hearthgate_broker_sent_messages_total", "messages that were sent to clients", figures.messages_sent),
    ];
    all.into_iter().map(|(name, help, value)| ExposedFigure { name, help, value }).collect()
}

fn rights_view(topic: String, rights: TopicRights) -> BrokerRights {
    let TopicRights { may_connect, may_publish, may_receive } = rights;
    BrokerRights { topic, may_connect, may_publish, may_receive }
}

fn view(client: ClientState) -> ClientView {
    ClientView {
        id: client.id,
        user: client.user,
        protocol: client.protocol.to_owned(),
        connected: client.is_connected,
        left_at: client.left.map(Into::into),
        expiry: client.expiry,
        subscriptions: client.subscriptions,
        queued: client.queued as u64,
        queued_bytes: client.queued_bytes as u64,
        inflight: client.inflight as u64,
    }
}
