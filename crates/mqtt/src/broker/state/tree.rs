//! Who has subscribed to what: a tree over topic levels, walked once for a topic and then remembered.

use crate::broker::packets::incoming::SubscriptionOptions;
use hearthgate_domain::delivery::QoS;
use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

/// Index of a session in the hub.
pub(crate) type SessionKey = usize;

/// One session's subscription at a filter.
#[derive(Clone, Debug)]
pub(crate) struct SubscriptionMember {
    pub(crate) session: SessionKey,
    pub(crate) options: SubscriptionOptions,
    /// Subscription identifier.
    pub(crate) identifier: Option<u32>,
}

/// A shared subscription: one group at one filter.
#[derive(Clone, Debug)]
pub(crate) struct SharedGroup {
    /// The whole `$share/group/filter`.
    pub(crate) name: Arc<str>,
    pub(crate) members: Vec<SubscriptionMember>,
    /// Whose turn it is.
    pub(crate) turn: Rc<Cell<usize>>,
}

/// One session that gets a message; all of its matching subscriptions in one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeliveryTarget {
    pub(crate) session: SessionKey,
    pub(crate) qos: QoS,
    /// Only where every matching subscription says so.
    pub(crate) no_local: bool,
    pub(crate) retain_as_published: bool,
    pub(crate) identifiers: Vec<u32>,
}

/// Everyone who gets what is published to one topic.
#[derive(Debug)]
pub(crate) struct DeliveryRoute {
    pub(crate) topic: Arc<str>,
    pub(crate) targets: Vec<DeliveryTarget>,
    pub(crate) groups: Vec<SharedGroup>,
    /// The highest QoS at which the gateway wants it.
    pub(crate) gateway: Option<QoS>,
}

#[derive(Debug, Default)]
struct Node {
    // Boxed, since most nodes have one child and a table has room for several.
    children: HashMap<Box<str>, Box<Node>>,
    members: Vec<SubscriptionMember>,
    groups: Vec<SharedGroup>,
    gateway: Option<QoS>,
}

/// What a node takes with its name and its place in the one above, about.
pub(crate) const NODE_BYTES: usize = 256;

impl Node {
    fn is_empty(&self) -> bool {
        self.children.is_empty() && self.members.is_empty() && self.groups.is_empty() && self.gateway.is_none()
    }
}

/// Bytes, about, of the topics that are remembered with those who get them.
const REMEMBERED_BYTES: usize = 4 * 1024 * 1024;

/// All subscriptions.
#[derive(Debug, Default)]
pub(crate) struct SubscriptionTree {
    root: Node,
    routes: HashMap<Arc<str>, Rc<DeliveryRoute>>,
    route_bytes: usize,
}

impl SubscriptionTree {
    /// Adds or replaces a session's subscription; `share` is the whole shared filter.
    pub(crate) fn subscribe(&mut self, filter: &str, share: Option<&Arc<str>>, member: SubscriptionMember) {
        self.forget_routes();
        let node = self.node(filter);
        let members = match share {
            None => &mut node.members,
            Some(name) => {
                let index = node.groups.iter().position(|group| group.name == *name).unwrap_or_else(|| {
                    node.groups.push(SharedGroup { name: name.clone(), members: Vec::new(), turn: Rc::default() });
                    node.groups.len() - 1
                });
                &mut node.groups[index].members
            }
        };
        match members.iter_mut().find(|known| known.session == member.session) {
            Some(known) => *known = member,
            None => members.push(member),
        }
    }

    /// Removes a session's subscription.
    pub(crate) fn unsubscribe(&mut self, filter: &str, share: Option<&str>, session: SessionKey) {
        self.forget_routes();
        self.change(filter, |node| match share {
            None => node.members.retain(|member| member.session != session),
            Some(name) => {
                for group in node.groups.iter_mut().filter(|group| &*group.name == name) {
                    group.members.retain(|member| member.session != session);
                }
                node.groups.retain(|group| !group.members.is_empty());
            }
        });
    }

    /// Sets or removes what the gateway wants at a filter.
    pub(crate) fn set_gateway(&mut self, filter: &str, qos: Option<QoS>) {
        self.forget_routes();
        if qos.is_some() {
            self.node(filter).gateway = qos;
        } else {
            self.change(filter, |node| node.gateway = None);
        }
    }

    /// The group of a shared subscription.
    pub(crate) fn group(&self, filter: &str, name: &str) -> Option<&SharedGroup> {
        let mut node = &self.root;
        for level in filter.split('/') {
            node = node.children.get(level)?;
        }
        node.groups.iter().find(|group| &*group.name == name)
    }

    /// Who gets what is published to `topic`.
    pub(crate) fn route(&mut self, topic: &str) -> Rc<DeliveryRoute> {
        if let Some(route) = self.routes.get(topic) {
            return route.clone();
        }
        let mut route = DeliveryRoute { topic: topic.into(), targets: Vec::new(), groups: Vec::new(), gateway: None };
        let levels: Vec<&str> = topic.split('/').collect();
        collect(&self.root, &levels, !topic.starts_with('$'), &mut route);
        let route = Rc::new(route);
        let members: usize = route.groups.iter().map(|group| group.members.len() + 2).sum();
        self.route_bytes += 128 + topic.len() + 64 * (route.targets.len() + members);
        if self.route_bytes > REMEMBERED_BYTES {
            self.forget_routes();
        }
        self.routes.insert(route.topic.clone(), route.clone());
        route
    }

    fn forget_routes(&mut self) {
        self.routes.clear();
        self.route_bytes = 0;
    }

    fn node(&mut self, filter: &str) -> &mut Node {
        let mut node = &mut self.root;
        for level in filter.split('/') {
            node = node.children.entry(level.into()).or_default();
        }
        node
    }

    /// Changes a node that may exist, and drops the branch if it is empty afterwards.
    fn change(&mut self, filter: &str, change: impl FnOnce(&mut Node)) {
        fn descend(node: &mut Node, mut levels: std::str::Split<'_, char>, change: impl FnOnce(&mut Node)) {
            let Some(level) = levels.next() else { return change(node) };
            let Some(child) = node.children.get_mut(level) else { return };
            descend(child, levels, change);
            if child.is_empty() {
                node.children.remove(level);
            }
        }
        descend(&mut self.root, filter.split('/'), change);
    }
}

/// `wild` is whether a wildcard may match here: not at the first level of a `$`-topic.
fn collect(node: &Node, levels: &[&str], wild: bool, route: &mut DeliveryRoute) {
    if wild && let Some(rest) = node.children.get("#") {
        take(rest, route);
    }
    let Some((level, below)) = levels.split_first() else { return take(node, route) };
    // A topic name never contains "+" or "#", so these keys mean wildcards only.
    if let Some(child) = node.children.get(*level) {
        collect(child, below, true, route);
    }
    if wild && let Some(child) = node.children.get("+") {
        collect(child, below, true, route);
    }
}

fn take(node: &Node, route: &mut DeliveryRoute) {
    route.gateway = route.gateway.max(node.gateway);
    route.groups.extend(node.groups.iter().cloned());
    for member in &node.members {
        match route.targets.iter_mut().find(|target| target.session == member.session) {
            Some(target) => {
                target.qos = target.qos.max(member.options.qos);
                target.no_local &= member.options.no_local;
                target.retain_as_published |= member.options.retain_as_published;
                target.identifiers.extend(member.identifier);
            }
            None => route.targets.push(DeliveryTarget {
                session: member.session,
                qos: member.options.qos,
                no_local: member.options.no_local,
                retain_as_published: member.options.retain_as_published,
                identifiers: member.identifier.into_iter().collect(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(session: SessionKey, qos: QoS) -> SubscriptionMember {
        let options = SubscriptionOptions { qos, no_local: false, retain_as_published: false, retain_handling: 0 };
        SubscriptionMember { session, options, identifier: Some(session as u32 + 10) }
    }

    #[test]
    fn overlapping_subscriptions_become_one_delivery_with_the_highest_qos() {
        let mut tree = SubscriptionTree::default();
        tree.subscribe("a/#", None, member(1, QoS::ExactlyOnce));
        tree.subscribe("a/+", None, member(1, QoS::AtLeastOnce));
        tree.subscribe("+/b", None, member(2, QoS::AtMostOnce));
        let route = tree.route("a/b");
        assert_eq!(route.targets.len(), 2);
        let first = route.targets.iter().find(|target| target.session == 1).unwrap();
        assert_eq!((first.qos, first.identifiers.as_slice()), (QoS::ExactlyOnce, [11, 11].as_slice()));
    }

    #[test]
    fn a_wildcard_at_the_front_does_not_match_a_dollar_topic() {
        let mut tree = SubscriptionTree::default();
        tree.subscribe("#", None, member(1, QoS::AtMostOnce));
        tree.subscribe("+/a", None, member(2, QoS::AtMostOnce));
        tree.subscribe("$SYS/#", None, member(3, QoS::AtMostOnce));
        let route = tree.route("$SYS/a");
        assert_eq!(route.targets.iter().map(|target| target.session).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn unsubscribing_leaves_nothing_behind() {
        let mut tree = SubscriptionTree::default();
        let share: Arc<str> = "$share/g/a/b".into();
        tree.subscribe("a/b/c", None, member(1, QoS::AtMostOnce));
        tree.subscribe("a/b", Some(&share), member(1, QoS::AtMostOnce));
        tree.set_gateway("a/#", Some(QoS::AtLeastOnce));
        assert_eq!(tree.route("a/b").gateway, Some(QoS::AtLeastOnce));
        assert_eq!(tree.route("a/b").groups.len(), 1);
        tree.unsubscribe("a/b/c", None, 1);
        tree.unsubscribe("a/b", Some(&share), 1);
        tree.set_gateway("a/#", None);
        assert!(tree.root.is_empty());
    }

    #[test]
    fn routing_agrees_with_matching_one_filter_at_a_time() {
        let filters = ["a", "a/b", "a/+", "+/b", "#", "a/#", "+", "/+", "+/+", "a//b", "$x/#", "+/#"];
        let names = ["a", "a/b", "b/b", "/a", "a//b", "$x/a", "$x", "a/b/c", "/"];
        let mut tree = SubscriptionTree::default();
        for (session, filter) in filters.iter().enumerate() {
            tree.subscribe(filter, None, member(session, QoS::AtMostOnce));
        }
        for name in names {
            let mut routed: Vec<usize> = tree.route(name).targets.iter().map(|target| target.session).collect();
            routed.sort_unstable();
            let expected: Vec<usize> =
                (0..filters.len()).filter(|&index| crate::broker::topic::matches(filters[index], name)).collect();
            assert_eq!(routed, expected, "{name}");
        }
    }
}
