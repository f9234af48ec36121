//! BrokerActor: runs the embedded broker on this actor's own thread, for whoever attaches to it.

use crate::messages::AttachGateway;
use crate::metrics::MetricCounter;
use actix::prelude::*;
use hearthgate_mqtt::broker::{BrokerInspector, BrokerLoss, BrokerOptions, EmbeddedBroker};
use hearthgate_mqtt::link::LinkPort;
use hearthgate_supervision::{ActorExit, ActorFailure};
use std::time::Duration;
use tracing::info;

/// See the module.
pub struct BrokerActor {
    options: BrokerOptions,
    /// Bound before the actors were started, so that a port in use is told at once.
    bound: Option<EmbeddedBroker>,
    /// Whether the gateway itself will attach.
    expects_port: bool,
    running: Option<SpawnHandle>,
    inspector: BrokerInspector,
    exit: ActorExit,
}

impl BrokerActor {
    /// An actor that runs this broker, and makes new ones by the same options after a failure. `inspector` asks whichever
    /// of them runs.
    #[must_use]
    pub fn new(
        options: BrokerOptions,
        bound: EmbeddedBroker,
        expects_port: bool,
        inspector: BrokerInspector,
        exit: ActorExit,
    ) -> Self {
        BrokerActor { options, bound: Some(bound), expects_port, running: None, inspector, exit }
    }

    fn serve(&mut self, port: LinkPort, ctx: &mut Context<Self>) {
        if self.running.is_some() {
            // The one before has lost its link and is about to end; the port must be free first.
            ctx.run_later(Duration::from_millis(20), move |act, ctx| act.serve(port, ctx));
            return;
        }
        self.run(Some(port), ctx);
    }

    fn run(&mut self, port: Option<LinkPort>, ctx: &mut Context<Self>) {
        let bound = match self.bound.take() {
            Some(bound) => Ok(bound),
            None => EmbeddedBroker::bind(self.options.clone()),
        };
        let mut broker = match bound {
            Ok(broker) => broker,
            Err(reason) => return self.exit.fail(ctx, ActorFailure::resource(reason)),
        };
        broker.inspect_with(self.inspector.clone());
        if let Some(port) = port {
            broker.attach(port);
        }
        // Made now, so that the series are there from the start.
        let losses = BrokerLoss::ALL.map(|loss| MetricCounter::broker_losses(loss.label()));
        broker.observe_losses(Box::new(move |loss| losses[loss as usize].add(1)));
        let addresses: Vec<String> = broker.addresses().iter().map(ToString::to_string).collect();
        info!(listen = %addresses.join(", "), "the embedded broker runs");
        let ended = broker.run().into_actor(self).map(|end, act, ctx| {
            act.running = None;
            match end {
                Ok(()) => info!("the embedded broker has ended"),
                Err(reason) => act.exit.fail(ctx, ActorFailure::resource(reason)),
            }
        });
        self.running = Some(ctx.spawn(ended));
    }
}

impl Actor for BrokerActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if !self.expects_port {
            self.run(None, ctx);
        }
    }
}

impl Supervised for BrokerActor {
    fn restarting(&mut self, _: &mut Self::Context) {
        self.running = None;
    }
}

impl Handler<AttachGateway> for BrokerActor {
    type Result = ();

    fn handle(&mut self, AttachGateway(port): AttachGateway, ctx: &mut Self::Context) {
        self.serve(port, ctx);
    }
}
