//! What a connected client's packets do.

use super::connection::ClientConnection;
use crate::broker::packets::incoming::{ClientPacket, SubscribeRequest};
use crate::broker::packets::outgoing;
use crate::broker::packets::publish::ClientPublish;
use crate::broker::server::work::PacketWork;
use crate::broker::state::holdings::IDENTIFIER_BYTES;
use crate::broker::state::received::{AckCondition, ReceivedMessage};
use crate::broker::state::tree::DeliveryRoute;
use crate::broker::state::{BrokerState, ClientDeparture, MessagePublisher, PendingAck, PublishedMessage, ReplyBody};
use crate::broker::topic;
use crate::codec::reason::ReasonCode;
use crate::codec::{PacketFrame, ProtocolLevel, ProtocolViolation, frame};
use bytes::Bytes;
use hearthgate_domain::delivery::{MessageOrigin, QoS, UnixMicros};
use std::collections::HashMap;
use std::rc::Rc;

impl ClientConnection {
    /// Works off `pending`. A PUBLISH for which there is no room is held back, and later ones with it, as they must not
    /// overtake it; everything else goes on: a client has one connection for all that it does.
    pub(crate) fn work_off(
        &mut self,
        hub: &mut BrokerState,
        received_at: UnixMicros,
    ) -> Result<PacketWork, ProtocolViolation> {
        let packets = std::mem::take(&mut self.pending);
        let mut at = 0;
        while at < packets.len() {
            let Ok(PacketFrame::Whole { header, body, end }) = frame(&packets[at..], usize::MAX) else { break };
            let (body, end) = (at + body, at + end);
            let is_held = match ClientPacket::read(self.version, header, &packets[body..end])? {
                ClientPacket::Publish(publish) => {
                    let is_held = self.stalled || !self.publish(hub, &publish, &packets, received_at)?;
                    if is_held {
                        self.stalled = true;
                        hub.stall(self.link);
                    }
                    is_held
                }
                ClientPacket::Disconnect { reason, session_expiry } if self.stalled => {
                    // What came before it is taken first; if the client goes at once, it has gone in order.
                    self.disconnect(reason, session_expiry)?;
                    true
                }
                ClientPacket::Disconnect { reason, session_expiry } => return self.disconnect(reason, session_expiry),
                other => {
                    self.other(hub, other)?;
                    false
                }
            };
            if is_held {
                self.held.extend_from_slice(&packets[at..end]);
            } else {
                hub.traffic.packets_received += 1;
            }
            at = end;
        }
        Ok(PacketWork::More)
    }

    fn other(&mut self, hub: &mut BrokerState, packet: ClientPacket<'_>) -> Result<(), ProtocolViolation> {
        match packet {
            ClientPacket::Acknowledged(id) | ClientPacket::Completed(id) => hub.finish(self.session, self.link, id),
            ClientPacket::Received(id, refused) => hub.receive(self.session, self.link, id, refused),
            ClientPacket::Released(id) => self.release(hub, id),
            ClientPacket::Subscribe(subscribe) => self.subscribe(hub, &subscribe),
            ClientPacket::Unsubscribe { packet_id, filters } => {
                let codes: Vec<u8> = filters.iter().map(|filter| hub.unsubscribe(self.session, filter)).collect();
                let generation = hub.store_all_of(self.session);
                hub.reply(self.link, packet_id, ReplyBody::Unsubscribed(codes), generation);
            }
            ClientPacket::Ping => {
                if let Some(link) = hub.links.get_mut(self.link) {
                    outgoing::pingresp(link.out.begin_packet());
                }
            }
            ClientPacket::Publish(_) | ClientPacket::Disconnect { .. } => {}
        }
        Ok(())
    }

    fn disconnect(&mut self, reason: u8, session_expiry: Option<u32>) -> Result<PacketWork, ProtocolViolation> {
        if self.session_expiry == 0 && session_expiry.is_some_and(|expiry| expiry > 0) {
            return Err(ProtocolViolation::protocol("DISCONNECT keeps a session that CONNECT did not"));
        }
        self.farewell = match reason {
            0 => ClientDeparture::Orderly { session_expiry },
            _ => ClientDeparture::WithWill { session_expiry },
        };
        Ok(PacketWork::Goodbye)
    }

    fn subscribe(&mut self, hub: &mut BrokerState, subscribe: &SubscribeRequest<'_>) {
        let mut codes = Vec::with_capacity(subscribe.filters.len());
        let mut granted = Vec::new();
        // Of equal filters the last one counts, and brings the retained messages once.
        let last: HashMap<&str, usize> =
            subscribe.filters.iter().enumerate().map(|(index, (filter, _))| (*filter, index)).collect();
        for (index, (filter, options)) in subscribe.filters.iter().enumerate() {
            let mut options = *options;
            if self.is_bridge && !filter.starts_with("$share/") {
                options.no_local = true;
                options.retain_as_published = true;
            }
            let counts = last.get(filter).is_none_or(|&last| last == index);
            let subscribed = if !counts && topic::is_filter(filter) && self.rights.may_subscribe(filter) {
                codes.push(options.qos as u8);
                continue;
            } else if self.rights.may_subscribe(filter) {
                hub.subscribe(self.session, filter, options, subscribe.identifier)
            } else {
                Err(ReasonCode::NotAuthorized)
            };
            match subscribed {
                Ok(known) => {
                    codes.push(options.qos as u8);
                    granted.push((filter, options, known));
                }
                Err(reason) => codes.push(reason as u8),
            }
        }
        // A client that finds its session again does not subscribe again: what it is told must be kept.
        let generation = hub.store_all_of(self.session);
        hub.reply(self.link, subscribe.packet_id, ReplyBody::Subscribed(codes), generation);
        for (filter, options, known) in granted {
            hub.send_retained(self.session, filter, options, subscribe.identifier, known);
        }
    }

    /// Takes a PUBLISH. `false`: there is no room for it now.
    fn publish(
        &mut self,
        hub: &mut BrokerState,
        publish: &ClientPublish<'_>,
        packets: &Bytes,
        received_at: UnixMicros,
    ) -> Result<bool, ProtocolViolation> {
        let route = self.resolve(hub, publish)?;
        if hub.must_wait(&route) {
            return Ok(false);
        }
        hub.traffic.messages_received += 1;
        self.check_receive_maximum(hub, publish)?;
        let refused = match self.judge(&route, publish)? {
            None => self.check_room(hub, publish)?,
            refused => refused,
        };
        let origin = MessageOrigin { session: self.origin, packet_id: publish.packet_id, dup: publish.dup };
        let publisher = MessagePublisher { link: self.link, session: self.session, origin };
        let properties = match &publish.properties {
            crate::broker::packets::publish::PassedProperties::Whole(section) => packets.slice_ref(section),
            crate::broker::packets::publish::PassedProperties::Rest(rest) => Bytes::copy_from_slice(rest),
        };
        let published = PublishedMessage {
            payload: packets.slice_ref(publish.payload),
            qos: publish.qos,
            retain: publish.retain,
            properties,
            expiry: publish.expiry,
            received_at,
        };
        let wait = match (refused, publish.qos) {
            (Some(_), _) => AckCondition::default(),
            (None, QoS::ExactlyOnce) => self.publish_once(hub, publisher, &route, &published),
            (None, QoS::AtMostOnce | QoS::AtLeastOnce) => hub.publish(Some(publisher), &route, &published),
        };
        if publish.qos != QoS::AtMostOnce
            && let Some(link) = hub.links.get_mut(self.link)
        {
            let kind = if publish.qos == QoS::AtLeastOnce { 4 } else { 5 };
            let reason = refused.unwrap_or(ReasonCode::Success);
            link.owe(PendingAck { kind, packet_id: publish.packet_id, reason, wait });
        }
        Ok(true)
    }

    /// Puts the topic in for its alias, and finds out who gets the message.
    fn resolve(
        &mut self,
        hub: &mut BrokerState,
        publish: &ClientPublish<'_>,
    ) -> Result<Rc<DeliveryRoute>, ProtocolViolation> {
        let Some(alias) = publish.alias else { return Ok(hub.tree.route(publish.topic)) };
        let invalid = |what| ProtocolViolation { reason: ReasonCode::TopicAliasInvalid, what };
        if alias == 0 || alias > hub.limits.topic_alias_maximum {
            return Err(invalid("topic alias is out of range"));
        }
        if publish.topic.is_empty() {
            let topic = self.aliases.get(&alias).ok_or(ProtocolViolation::protocol("topic alias is unknown"))?;
            return Ok(hub.tree.route(topic));
        }
        if publish.topic.len() > crate::broker::topic::MAX_REMEMBERED_BYTES {
            return Err(ProtocolViolation {
                reason: ReasonCode::QuotaExceeded,
                what: "topic is too long for an alias",
            });
        }
        let route = hub.tree.route(publish.topic);
        self.aliases.insert(alias, route.topic.clone());
        Ok(route)
    }

    /// MQTT 5.0, section 3.3.4.
    fn check_receive_maximum(&self, hub: &BrokerState, publish: &ClientPublish<'_>) -> Result<(), ProtocolViolation> {
        if publish.qos == QoS::AtMostOnce || self.version != ProtocolLevel::V5 {
            return Ok(());
        }
        let open = hub.sessions[self.session].holdings.unreleased();
        let again = publish.qos == QoS::ExactlyOnce
            && hub.sessions[self.session].holdings.received(publish.packet_id).is_some();
        let unacknowledged = hub.links.get(self.link).map_or(0, |link| link.pubacks) + open;
        if !again && unacknowledged >= usize::from(hub.limits.receive_maximum) {
            let what = "more messages at a time than the receive maximum";
            return Err(ProtocolViolation { reason: ReasonCode::ReceiveMaximumExceeded, what });
        }
        Ok(())
    }

    /// Whether there is room to remember another QoS 2 message until it is released.
    fn check_room(
        &self,
        hub: &mut BrokerState,
        publish: &ClientPublish<'_>,
    ) -> Result<Option<ReasonCode>, ProtocolViolation> {
        let Some(session) = hub.sessions.get(self.session).filter(|_| publish.qos == QoS::ExactlyOnce) else {
            return Ok(None);
        };
        let user = session.identity.user.clone();
        if session.holdings.received(publish.packet_id).is_some()
            || hub.make_room_to_hold(Some(self.session), user.as_ref(), IDENTIFIER_BYTES)
        {
            return Ok(None);
        }
        let reason = ReasonCode::QuotaExceeded;
        match self.version {
            ProtocolLevel::V5 => Ok(Some(reason)),
            // The older protocols have no way to refuse a message.
            ProtocolLevel::V31 | ProtocolLevel::V311 => Err(ProtocolViolation {
                reason,
                what: "more messages of QoS 2 without PUBREL than there is memory for",
            }),
        }
    }

    /// Why a message is not passed on, if it is not. At QoS 0 there is no answer; it is dropped.
    fn judge(
        &self,
        route: &DeliveryRoute,
        publish: &ClientPublish<'_>,
    ) -> Result<Option<ReasonCode>, ProtocolViolation> {
        if publish.format_invalid {
            if publish.qos == QoS::AtMostOnce {
                let what = "payload is not UTF-8 as announced";
                return Err(ProtocolViolation { reason: ReasonCode::PayloadFormatInvalid, what });
            }
            return Ok(Some(ReasonCode::PayloadFormatInvalid));
        }
        Ok((!self.rights.may_publish(&route.topic)).then_some(ReasonCode::NotAuthorized))
    }

    /// QoS 2: passed on the first time that the packet id comes.
    fn publish_once(
        &self,
        hub: &mut BrokerState,
        publisher: MessagePublisher,
        route: &Rc<DeliveryRoute>,
        published: &PublishedMessage,
    ) -> AckCondition {
        let packet_id = publisher.origin.packet_id;
        let wait = match hub.sessions[self.session].holdings.received(packet_id) {
            Some(ReceivedMessage { wait, restored: false }) => return wait,
            Some(ReceivedMessage { restored: true, .. }) => hub.publish_to_gateway_only(publisher, route, published),
            None => hub.publish(Some(publisher), route, published),
        };
        hub.note_received(self.session, packet_id, wait);
        wait
    }

    /// PUBREL: the packet id is free again, and its next use a new message. The client may use it as soon as it has
    /// PUBCOMP, so that waits for the store; also when the id is unknown, as its release may be what is being stored.
    fn release(&mut self, hub: &mut BrokerState, packet_id: u16) {
        let known = hub.forget_received(self.session, packet_id);
        let reason = if known { ReasonCode::Success } else { ReasonCode::PacketIdentifierNotFound };
        let generation = hub.store_all_of(self.session);
        hub.reply(self.link, packet_id, ReplyBody::Acknowledgement { kind: 7, reason }, generation);
    }
}
