//! The embedded broker.

use crate::wiring::BrokerPlace;
use hearthgate_api::wire::{BrokerRights, BrokerSummary, ClientView, RightsQuery};
use hearthgate_api::{BrokerView, SubjectAnswer, SubjectFailure};
use hearthgate_mqtt::broker::{ClientState, RightsQuestion, TopicRights};

pub(super) struct BrokerSubject(pub(super) BrokerPlace);

impl BrokerView for BrokerSubject {
    fn clients(&self) -> SubjectAnswer<BrokerSummary> {
        let BrokerPlace { listens, inspector } = self.0.clone();
        Box::pin(async move {
            let snapshot = inspector.snapshot().await.map_err(crate::run::subjects::common::unavailable)?;
            Ok(BrokerSummary {
                listens: listens.iter().map(ToString::to_string).collect(),
                clients: snapshot.clients.into_iter().map(view).collect(),
                left_out: snapshot.left_out as u64,
                retained: snapshot.retained as u64,
                dropped: snapshot.dropped,
            })
        })
    }

    fn rights(&self, RightsQuery { user, client, topic }: RightsQuery) -> SubjectAnswer<BrokerRights> {
        let inspector = self.0.inspector.clone();
        Box::pin(async move {
            let user = user.filter(|user| !user.is_empty());
            let question = RightsQuestion { user, client_id: client, topic: topic.clone() };
            let rights = inspector.rights(question).await.map_err(crate::run::subjects::common::unavailable)?;
            Ok(rights_view(topic, rights))
        })
    }

    fn disconnect(&self, client: String) -> SubjectAnswer<()> {
        let inspector = self.0.inspector.clone();
        Box::pin(async move {
            match inspector.disconnect(client.clone()).await.map_err(crate::run::subjects::common::unavailable)? {
                true => Ok(()),
                false => Err(SubjectFailure::Missing(format!("no client {client:?} is connected"))),
            }
        })
    }
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
