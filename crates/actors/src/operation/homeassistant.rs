//! HomeAssistantActor: shows the gateway and its interfaces in Home Assistant, and obeys the buttons there.
//!
//! It takes part in nothing else: it only overhears what arrives, and no acknowledgement waits for it.

use crate::flows::dead_letters;
use crate::messages::{MessagesArrived, PublishMessages, RestartGateway};
use crate::mqtt::LinkStatus;
use crate::operation::announced::AnnouncedMemory;
use crate::operation::discovery::{DiscoveryPlan, RestartTarget, TopicMeaning, is_birth, obey};
use actix::prelude::*;
use bytes::Bytes;
use hearthgate_domain::delivery::{InboundMessage, OutboundMessage, QoS};
use hearthgate_mqtt::link::subscription_identifier;
use hearthgate_supervision::{ActorExit, ActorFailure};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tracing::{debug, info, warn};

/// What was not heard of again by then is sent again.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// What the actor works with.
pub struct HomeAssistantDeps {
    /// What to announce, to listen to and to remove.
    pub plan: DiscoveryPlan,
    /// Where the announced topics are kept.
    pub memory: Box<dyn AnnouncedMemory + Send>,
    /// Where messages are published.
    pub publish: Recipient<PublishMessages>,
    /// Who restarts.
    pub restart: Recipient<RestartGateway>,
    /// After a new connection everything is announced again.
    pub link: watch::Receiver<LinkStatus>,
}

/// See the module.
pub struct HomeAssistantActor {
    deps: HomeAssistantDeps,
    exit: ActorExit,
    was_connected: bool,
    is_to_try_again: bool,
}

impl HomeAssistantActor {
    /// An actor that announces as soon as there is a connection.
    #[must_use]
    pub fn new(deps: HomeAssistantDeps, exit: ActorExit) -> Self {
        HomeAssistantActor { deps, exit, was_connected: false, is_to_try_again: false }
    }

    fn on_link(&mut self, ctx: &mut Context<Self>) {
        let is_connected = self.deps.link.borrow_and_update().connected;
        if is_connected && !self.was_connected {
            self.announce(ctx);
        }
        self.was_connected = is_connected;
        let mut link = self.deps.link.clone();
        let changed = async move { link.changed().await };
        ctx.spawn(changed.into_actor(self).map(|end, act, ctx| match end {
            Ok(()) => act.on_link(ctx),
            Err(_) => act.exit.fail(ctx, ActorFailure::dependency("the connection to the broker is gone for good")),
        }));
    }

    /// Tells everything, and takes back what is to go.
    fn announce(&mut self, ctx: &mut Context<Self>) {
        let plan = &self.deps.plan;
        let retained = |topic: &Arc<str>, payload: &Bytes| OutboundMessage {
            topic: Arc::clone(topic),
            payload: payload.clone(),
            qos: QoS::AtLeastOnce,
            retain: true,
        };
        let present = plan.announcements.iter().map(|known| retained(&known.topic, &known.payload));
        let messages: Vec<OutboundMessage> =
            present.chain(plan.leftovers().map(|topic| retained(topic, &Bytes::new()))).collect();
        if messages.is_empty() {
            return;
        }
        debug!(count = messages.len(), "announcing to Home Assistant");
        let is_certain = plan.leftovers().next().is_none();
        let sent = self.deps.publish.send(PublishMessages(messages)).into_actor(self);
        ctx.spawn(sent.map(move |end, act, ctx| {
            let is_sent = matches!(end, Ok(Ok(())));
            if !is_sent {
                warn!("could not announce to Home Assistant; it is tried again");
            }
            if !(is_sent && is_certain) {
                act.announce_later(ctx);
            }
        }));
    }

    fn announce_later(&mut self, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.is_to_try_again, true) {
            return;
        }
        ctx.run_later(TRY_AGAIN_AFTER, |act, ctx| {
            act.is_to_try_again = false;
            if act.was_connected {
                act.announce(ctx);
            }
        });
    }

    fn take(&mut self, message: &InboundMessage, ctx: &mut Context<Self>) {
        match self.deps.plan.meanings.get(&message.topic) {
            None => {}
            Some(TopicMeaning::Birth) if is_birth(message) => {
                info!("Home Assistant has started; everything is announced again");
                self.announce(ctx);
            }
            Some(TopicMeaning::Birth) => {}
            Some(TopicMeaning::Button(target)) => match obey(message, dead_letters::now()) {
                Ok(()) => self.restart(target.clone(), ctx),
                Err(reason) => warn!(topic = %message.topic, %reason, "an order to restart is not obeyed"),
            },
            Some(TopicMeaning::Leftover) if message.payload.is_empty() => {
                info!(topic = %message.topic, "removed from Home Assistant");
                self.deps.plan.meanings.remove(&message.topic);
                self.remember();
            }
            // The announcement that is to go, as it was retained.
            Some(TopicMeaning::Leftover) => {}
        }
    }

    fn restart(&self, target: RestartTarget, ctx: &mut Context<Self>) {
        let sent = self.deps.restart.send(RestartGateway(target)).into_actor(self);
        ctx.spawn(sent.map(|end, _, _| {
            if end.is_err() {
                warn!("an order to restart was lost: the supervisor is down; try again");
            }
        }));
    }

    fn remember(&mut self) {
        let plan = &self.deps.plan;
        let present = plan.announcements.iter().map(|known| Arc::clone(&known.topic));
        let topics: Vec<Arc<str>> = present.chain(plan.leftovers().cloned()).collect();
        if let Err(reason) = self.deps.memory.announced(&topics) {
            warn!(%reason, "could not remember what is announced to Home Assistant; it can't be taken back later");
        }
    }
}

impl Actor for HomeAssistantActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.was_connected = false;
        self.is_to_try_again = false;
        self.remember();
        self.on_link(ctx);
    }
}

impl Supervised for HomeAssistantActor {}

impl Handler<MessagesArrived> for HomeAssistantActor {
    type Result = ();

    fn handle(&mut self, MessagesArrived(batch): MessagesArrived, ctx: &mut Self::Context) {
        // What we subscribe to are topics without wildcards; a copy for some other filter is not for us.
        for (_, message) in batch.arrivals(0).filter(|(_, it)| it.via.includes(subscription_identifier(&it.topic))) {
            self.take(message, ctx);
        }
    }
}
