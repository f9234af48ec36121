//! The difference between the filters that are wanted and those that the broker holds for us.

use super::options::ProtocolVersion;
use crate::link::{LinkSubscription, subscription_identifier};
use crate::session::inbound::packet::{ConnackLimits, GrantRefusal};
use crate::session::outbound::packet_ids::PacketIds;
use crate::session::outbound::packets::{self, PacketWriteError};
use bytes::BytesMut;
use hearthgate_domain::delivery::QoS;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Filters in one SUBSCRIBE; brokers limit packets, and some the filters in them.
const FILTERS_A_PACKET: usize = 64;
/// Bytes of filters in one SUBSCRIBE.
const BYTES_A_PACKET: usize = 16 << 10;

/// One session's subscriptions.
#[derive(Debug)]
pub(super) struct SubscriptionSet {
    protocol: ProtocolVersion,
    /// Each filter is asked for under its own identifier.
    identified: bool,
    /// The broker has what a group of gateways needs.
    shareable: bool,
    /// `None` until the gateway has said what it wants: an empty set would remove what an earlier run subscribed.
    wanted: Option<Arc<[LinkSubscription]>>,
    /// What the broker holds, as far as we know; no QoS for what an earlier run left.
    held: HashMap<String, Option<QoS>>,
    /// Not asked for again before the next connection or a change.
    refused: HashSet<String>,
    asked: HashMap<u16, Asked>,
    /// Nothing has changed since there was no difference: the loop comes by with every packet, and ten thousand filters
    /// are not compared each time.
    is_settled: bool,
    changed: bool,
    refusals: Vec<(String, GrantRefusal)>,
}

#[derive(Debug)]
enum Asked {
    Subscribe(Vec<LinkSubscription>),
    Unsubscribe(Vec<String>),
}

impl SubscriptionSet {
    /// `remembered` are filters that an earlier run may have left with the broker.
    pub(super) fn new(protocol: ProtocolVersion, remembered: Vec<String>) -> Self {
        SubscriptionSet {
            protocol,
            identified: false,
            shareable: false,
            wanted: None,
            held: remembered.into_iter().map(|filter| (filter, None)).collect(),
            refused: HashSet::new(),
            asked: HashMap::new(),
            is_settled: false,
            changed: false,
            refusals: Vec::new(),
        }
    }

    /// A new set is wanted.
    pub(super) fn want(&mut self, wanted: Arc<[LinkSubscription]>) {
        self.wanted = Some(wanted);
        self.is_settled = false;
        self.refused.clear();
    }

    /// All filters that the broker holds, as far as we know.
    pub(super) fn held(&self) -> Vec<String> {
        let mut filters: Vec<String> = self.held.keys().cloned().collect();
        filters.sort_unstable();
        filters
    }

    /// The next connection is to another broker, which may hold these.
    pub(super) fn moved(&mut self, remembered: Vec<String>) {
        self.held = remembered.into_iter().map(|filter| (filter, None)).collect();
        self.is_settled = false;
    }

    /// A connection stands. Without the session the broker holds nothing. With it, MQTT 5 lets us state everything again
    /// at no cost, and we do: Mosquitto 2.0.12 to 2.0.18 can lose the subscriptions of a session that it keeps. On 3.1.1
    /// each retained message would come again with that, so there the session is trusted.
    pub(super) fn connected(&mut self, accepted: &ConnackLimits, ids: &mut PacketIds) {
        self.identified = accepted.subscription_identifiers;
        self.shareable = accepted.shared_subscriptions && accepted.subscription_identifiers;
        for (id, _) in self.asked.drain() {
            ids.free(id);
        }
        self.is_settled = false;
        self.refused.clear();
        if !accepted.session_present {
            self.held.clear();
        } else if self.protocol == ProtocolVersion::V5 {
            self.held.values_mut().for_each(|qos| *qos = None);
        }
    }

    /// Asks for the difference, new filters first so that no message falls between an old and a new one. One difference
    /// at a time: the next is made when all of this one is answered.
    pub(super) fn ask(&mut self, out: &mut BytesMut, ids: &mut PacketIds) -> Result<(), PacketWriteError> {
        if self.is_settled || !self.asked.is_empty() {
            return Ok(());
        }
        let Some(wanted) = self.wanted.clone() else { return Ok(()) };
        self.refuse_unshareable(&wanted);
        // One identifier a packet.
        let most = if self.identified { 1 } else { FILTERS_A_PACKET };
        for group in grouped(self.missing(&wanted), most, |it| it.filter.len()) {
            let Some(id) = ids.take() else { return Ok(()) };
            let identifier = self.identified.then(|| subscription_identifier(&group[0].filter));
            packets::subscribe(out, self.protocol, id, &group, identifier)?;
            self.asked.insert(id, Asked::Subscribe(group));
        }
        for group in grouped(self.left_over(&wanted), FILTERS_A_PACKET, String::len) {
            let Some(id) = ids.take() else { return Ok(()) };
            packets::unsubscribe(out, self.protocol, id, &group)?;
            self.asked.insert(id, Asked::Unsubscribe(group));
        }
        self.is_settled = self.asked.is_empty();
        Ok(())
    }

    /// Without shared subscriptions each member of a group would get everything, and without identifiers a message for
    /// two flows could be stored twice: better nothing, and a word about it.
    fn refuse_unshareable(&mut self, wanted: &[LinkSubscription]) {
        if self.shareable {
            return;
        }
        for subscription in wanted.iter().filter(|it| it.filter.starts_with("$share/")) {
            if self.refused.insert(subscription.filter.clone()) {
                self.refusals.push((subscription.filter.clone(), GrantRefusal::Unshareable));
            }
        }
    }

    fn missing(&self, wanted: &[LinkSubscription]) -> Vec<LinkSubscription> {
        let mut seen = HashSet::new();
        wanted
            .iter()
            .filter(|it| self.held.get(&it.filter) != Some(&Some(it.qos)) && !self.refused.contains(&it.filter))
            .filter(|it| seen.insert(it.filter.as_str()))
            .cloned()
            .collect()
    }

    fn left_over(&self, wanted: &[LinkSubscription]) -> Vec<String> {
        let wanted: HashSet<&str> = wanted.iter().map(|it| it.filter.as_str()).collect();
        self.held.keys().filter(|filter| !wanted.contains(filter.as_str())).cloned().collect()
    }

    /// SUBACK.
    pub(super) fn granted(&mut self, id: u16, results: Vec<Result<QoS, GrantRefusal>>, ids: &mut PacketIds) {
        let Some(Asked::Subscribe(filters)) = self.asked.remove(&id) else { return };
        ids.free(id);
        self.changed = true;
        let silent = std::iter::repeat(Err(GrantRefusal::Unanswered));
        for (asked, result) in filters.into_iter().zip(results.into_iter().chain(silent)) {
            match result {
                Ok(granted) => {
                    if granted < asked.qos {
                        tracing::warn!(filter = asked.filter, granted = u8::from(granted), "broker grants a lower QoS");
                    }
                    self.held.insert(asked.filter, Some(asked.qos));
                }
                Err(refusal) => {
                    self.refused.insert(asked.filter.clone());
                    self.refusals.push((asked.filter, refusal));
                }
            }
        }
    }

    /// UNSUBACK.
    pub(super) fn removed(&mut self, id: u16, ids: &mut PacketIds) {
        let Some(Asked::Unsubscribe(filters)) = self.asked.remove(&id) else { return };
        ids.free(id);
        self.changed = true;
        for filter in filters {
            self.held.remove(&filter);
        }
    }

    /// Refusals since the last call.
    pub(super) fn take_refusals(&mut self) -> Vec<(String, GrantRefusal)> {
        std::mem::take(&mut self.refusals)
    }

    /// All filters that the broker holds, each time that everything asked for is answered.
    pub(super) fn take_change(&mut self) -> Option<Vec<String>> {
        if !self.changed || !self.asked.is_empty() {
            return None;
        }
        self.changed = false;
        Some(self.held())
    }
}

fn grouped<T>(all: Vec<T>, most: usize, size: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let mut groups: Vec<Vec<T>> = Vec::new();
    let mut bytes = 0;
    for one in all {
        let more = size(&one) + 3;
        match groups.last_mut() {
            Some(group) if group.len() < most && bytes + more <= BYTES_A_PACKET => {
                bytes += more;
                group.push(one);
            }
            _ => {
                bytes = more;
                groups.push(vec![one]);
            }
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use rumqttc::mqttbytes::v4::Packet;

    fn filters(names: &[&str]) -> Arc<[LinkSubscription]> {
        names.iter().map(|it| LinkSubscription { filter: (*it).into(), qos: QoS::AtLeastOnce }).collect()
    }

    /// Asks, has the broker agree to everything, and returns what was subscribed and unsubscribed.
    fn settle(subscriptions: &mut SubscriptionSet, ids: &mut PacketIds) -> (Vec<String>, Vec<String>) {
        let (mut out, mut on, mut off) = (BytesMut::new(), Vec::new(), Vec::new());
        subscriptions.ask(&mut out, ids).unwrap();
        while !out.is_empty() {
            match Packet::read(&mut out, usize::MAX).unwrap() {
                Packet::Subscribe(it) => {
                    subscriptions.granted(it.pkid, vec![Ok(QoS::AtLeastOnce); it.filters.len()], ids);
                    on.extend(it.filters.into_iter().map(|it| it.path));
                }
                Packet::Unsubscribe(it) => {
                    subscriptions.removed(it.pkid, ids);
                    off.extend(it.topics);
                }
                other => panic!("unexpected {other:?}"),
            }
        }
        (on, off)
    }

    #[test]
    fn only_the_difference_is_asked_for() {
        let (mut it, mut ids) = (SubscriptionSet::new(ProtocolVersion::V3, vec![]), PacketIds::default());
        it.connected(&ConnackLimits::by_v3(false), &mut ids);
        it.want(filters(&["a", "b"]));
        assert_eq!(settle(&mut it, &mut ids), (vec!["a".into(), "b".into()], vec![]));
        it.want(filters(&["b", "c"]));
        assert_eq!(settle(&mut it, &mut ids), (vec!["c".into()], vec!["a".into()]));
        assert_eq!(it.take_change(), Some(vec!["b".into(), "c".into()]));
        it.connected(&ConnackLimits::by_v3(true), &mut ids);
        assert_eq!(settle(&mut it, &mut ids), (vec![], vec![]));
        it.connected(&ConnackLimits::by_v3(false), &mut ids);
        assert_eq!(settle(&mut it, &mut ids), (vec!["b".into(), "c".into()], vec![]));
    }

    #[test]
    fn left_overs_of_an_earlier_run_go_only_when_the_wanted_set_is_known() {
        let (mut it, mut ids) =
            (SubscriptionSet::new(ProtocolVersion::V3, vec!["old".into(), "a".into()]), PacketIds::default());
        it.connected(&ConnackLimits::by_v3(true), &mut ids);
        assert_eq!(settle(&mut it, &mut ids), (vec![], vec![]));
        it.want(filters(&["a"]));
        assert_eq!(settle(&mut it, &mut ids), (vec!["a".into()], vec!["old".into()]));
    }

    #[test]
    fn a_refused_filter_is_reported_once_and_not_asked_for_again() {
        let (mut it, mut ids) = (SubscriptionSet::new(ProtocolVersion::V3, vec![]), PacketIds::default());
        it.connected(&ConnackLimits::by_v3(false), &mut ids);
        it.want(filters(&["a"]));
        let mut out = BytesMut::new();
        it.ask(&mut out, &mut ids).unwrap();
        it.granted(1, vec![Err(GrantRefusal::Unexplained)], &mut ids);
        assert_eq!(it.take_refusals(), [("a".into(), GrantRefusal::Unexplained)]);
        assert_eq!(settle(&mut it, &mut ids), (vec![], vec![]));
    }

    #[test]
    fn a_shared_filter_is_not_asked_of_a_broker_that_can_not_share() {
        let (mut it, mut ids) = (SubscriptionSet::new(ProtocolVersion::V5, vec![]), PacketIds::default());
        it.connected(&ConnackLimits::by_v3(false), &mut ids);
        it.want(filters(&["$share/g/a"]));
        let mut out = BytesMut::new();
        it.ask(&mut out, &mut ids).unwrap();
        assert!(out.is_empty());
        assert_eq!(it.take_refusals()[0].0, "$share/g/a");
    }

    #[test]
    fn identifiers_follow_from_the_filter_and_are_in_range() {
        assert_eq!(subscription_identifier("sensors/#"), subscription_identifier("sensors/#"));
        let all: HashSet<u32> = (0..1_000).map(|it| subscription_identifier(&format!("sensors/{it}"))).collect();
        assert_eq!(all.len(), 1_000);
        assert!(all.iter().all(|it| (1..=268_435_455).contains(it)));
    }

    #[test]
    fn ten_thousand_filters_are_split_into_many_packets() {
        let (mut it, mut ids) = (SubscriptionSet::new(ProtocolVersion::V3, vec![]), PacketIds::default());
        it.connected(&ConnackLimits::by_v3(false), &mut ids);
        let names: Vec<String> = (0..10_000).map(|it| format!("sensors/{it}/{}", "x".repeat(400))).collect();
        it.want(filters(&names.iter().map(String::as_str).collect::<Vec<_>>()));
        let (on, _) = settle(&mut it, &mut ids);
        assert_eq!(on, names);
    }
}
