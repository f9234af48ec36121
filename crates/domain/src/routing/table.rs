//! The flows that are in force, and which of them a message concerns.

use crate::flow::{Flow, FlowRow};
use crate::routing::FilterTree;
use crate::topic::TopicFilter;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// All enabled flows, found by topic. It never changes: a reload makes another one.
#[derive(Clone, Debug, Default)]
pub struct RoutingTable {
    /// In the order of their ids.
    flows: Vec<Arc<Flow>>,
    /// The same order; a search stays within a few cache lines.
    ids: Vec<i64>,
    tree: FilterTree<u32>,
    filters: BTreeSet<TopicFilter>,
    resting: HashMap<i64, RestingFlow>,
    /// They take no messages from the broker.
    own: Vec<Arc<Flow>>,
}

/// A flow that takes no messages: it is switched off, removed, or can't be loaded. Messages that it took before may still
/// wait for it, and are known by its code.
#[derive(Clone, Debug, PartialEq)]
pub struct RestingFlow {
    /// Its number.
    pub id: i64,
    /// Its code.
    pub code: String,
    /// Itself, if it can be loaded.
    pub flow: Option<Arc<Flow>>,
}

/// What a reload changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TableDifference {
    /// Filters to subscribe to.
    pub subscribe: Vec<TopicFilter>,
    /// Filters to unsubscribe from.
    pub unsubscribe: Vec<TopicFilter>,
    /// Flows that are new.
    pub added: Vec<Arc<Flow>>,
    /// Flows that are no more, as they were.
    pub removed: Vec<Arc<Flow>>,
    /// Flows of the same id with another definition, as they are now.
    pub changed: Vec<Arc<Flow>>,
}

impl TableDifference {
    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl RoutingTable {
    /// A table of the flows that are enabled.
    #[must_use]
    pub fn new(mut flows: Vec<Arc<Flow>>) -> Self {
        flows.retain(|flow| flow.enabled);
        flows.sort_by_key(|flow| flow.id);
        let mut tree = FilterTree::new();
        for (index, flow) in flows.iter().enumerate() {
            tree.insert(flow.topic.filter(), index as u32);
        }
        let filters = flows.iter().map(|flow| flow.topic.filter().clone()).collect();
        let ids = flows.iter().map(|flow| flow.id).collect();
        Self { flows, ids, tree, filters, resting: HashMap::new(), own: Vec::new() }
    }

    /// The same table, which also knows these flows by their numbers.
    #[must_use]
    pub fn with_resting(mut self, resting: impl IntoIterator<Item = RestingFlow>) -> Self {
        self.resting = resting.into_iter().map(|resting| (resting.id, resting)).collect();
        self
    }

    /// The same table, with flows of the gateway itself, which carry its notices. Their ids are below zero.
    #[must_use]
    pub fn with_own(mut self, own: Vec<Arc<Flow>>) -> Self {
        self.own = own;
        self
    }

    /// The flows of the gateway itself.
    #[must_use]
    pub fn own(&self) -> &[Arc<Flow>] {
        &self.own
    }

    /// The flow of this id that is not in force.
    #[must_use]
    pub fn resting(&self, id: i64) -> Option<&RestingFlow> {
        self.resting.get(&id)
    }

    /// The code of a flow, in force or not.
    #[must_use]
    pub fn code(&self, id: i64) -> Option<&str> {
        self.flow(id).map(|flow| &*flow.code).or_else(|| self.resting(id).map(|resting| &*resting.code))
    }

    /// Whether both know the same flows that are not in force.
    #[must_use]
    pub fn rests_as(&self, other: &RoutingTable) -> bool {
        self.resting == other.resting
    }

    /// All flows, in the order of their ids.
    #[must_use]
    pub fn flows(&self) -> &[Arc<Flow>] {
        &self.flows
    }

    /// The flow of this id, one of the gateway's own too.
    #[must_use]
    pub fn flow(&self, id: i64) -> Option<&Arc<Flow>> {
        if id < 0 {
            return self.own.iter().find(|flow| flow.id == id);
        }
        self.ids.binary_search(&id).ok().map(|index| &self.flows[index])
    }

    /// The flow of this id that still has the definition of `row`, so that a reload need not compile it again.
    #[must_use]
    pub fn unchanged(&self, row: &FlowRow) -> Option<&Arc<Flow>> {
        let known = self.flow(row.id).or_else(|| self.resting(row.id)?.flow.as_ref());
        known.filter(|flow| flow.fingerprint() == row.fingerprint())
    }

    /// Puts the flows whose filter matches the topic name into `found`, in the order of their ids, each once. What was
    /// in `found` goes.
    pub fn matching(&self, topic: &str, found: &mut Vec<Arc<Flow>>) {
        found.clear();
        self.tree.for_each_match(topic, |index| found.extend(self.flows.get(*index as usize).cloned()));
        found.sort_unstable_by_key(|flow| flow.id);
    }

    /// What to subscribe to: the flows' filters, each once. Filters that others cover are not left out, so that a flow
    /// that comes or goes never changes what another one gets.
    pub fn filters(&self) -> impl Iterator<Item = &TopicFilter> {
        self.filters.iter()
    }

    /// What has to be done to get here from `old`.
    #[must_use]
    pub fn difference(&self, old: &RoutingTable) -> TableDifference {
        let before: HashMap<i64, &Arc<Flow>> = old.flows.iter().map(|flow| (flow.id, flow)).collect();
        let mut difference = TableDifference {
            subscribe: self.filters.difference(&old.filters).cloned().collect(),
            unsubscribe: old.filters.difference(&self.filters).cloned().collect(),
            ..TableDifference::default()
        };
        for flow in &self.flows {
            match before.get(&flow.id) {
                None => difference.added.push(flow.clone()),
                Some(known) if *known != flow => difference.changed.push(flow.clone()),
                Some(_) => {}
            }
        }
        let still_there = |flow: &&Arc<Flow>| self.flow(flow.id).is_none();
        difference.removed = old.flows.iter().filter(still_there).cloned().collect();
        difference
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: i64, topic: &str) -> FlowRow {
        FlowRow {
            id,
            code: format!("F{id}"),
            topic: topic.into(),
            action: "STORE_DB".into(),
            payload_schema: "{}".into(),
            enabled: true,
            ..FlowRow::default()
        }
    }

    fn table(flows: &[(i64, &str)]) -> RoutingTable {
        let flow = |(id, topic): &(i64, &str)| Arc::new(Flow::compile(row(*id, topic)).unwrap());
        RoutingTable::new(flows.iter().map(flow).collect())
    }

    fn ids(flows: &[Arc<Flow>]) -> Vec<i64> {
        flows.iter().map(|flow| flow.id).collect()
    }

    #[test]
    fn each_matching_flow_is_found_once_in_the_order_of_ids() {
        let table = table(&[(3, "a/#"), (1, "a/+"), (2, "a/b"), (4, "a/b"), (5, "b/#"), (6, "a/{x}")]);
        let mut found = table.flows()[4..].to_vec();
        table.matching("a/b", &mut found);
        assert_eq!(ids(&found), [1, 2, 3, 4, 6]);
        table.matching("c", &mut found);
        assert!(found.is_empty());
    }

    #[test]
    fn equal_filters_are_subscribed_to_once_and_covered_ones_remain() {
        let table = table(&[(1, "a/#"), (2, "a/b"), (3, "a/b")]);
        assert_eq!(table.filters().map(TopicFilter::as_str).collect::<Vec<_>>(), ["a/#", "a/b"]);
    }

    #[test]
    fn a_disabled_flow_takes_no_part() {
        let disabled = Flow::compile(FlowRow { enabled: false, ..row(1, "a") }).unwrap();
        assert_eq!(RoutingTable::new(vec![Arc::new(disabled)]).filters().count(), 0);
    }

    #[test]
    fn a_reload_changes_only_the_difference() {
        let old = table(&[(1, "a"), (2, "b"), (3, "c"), (4, "d")]);
        let new = table(&[(1, "a"), (2, "b2"), (4, "d"), (5, "c")]);
        let difference = new.difference(&old);
        assert_eq!(difference.subscribe.iter().map(TopicFilter::as_str).collect::<Vec<_>>(), ["b2"]);
        assert_eq!(difference.unsubscribe.iter().map(TopicFilter::as_str).collect::<Vec<_>>(), ["b"]);
        assert_eq!(
            (ids(&difference.added), ids(&difference.removed), ids(&difference.changed)),
            (vec![5], vec![3], vec![2])
        );
        assert!(new.difference(&new).is_empty());
        assert!(old.unchanged(&row(1, "a")).is_some());
        assert!(old.unchanged(&FlowRow { last_msg_id: 9, ..row(1, "a") }).is_some());
        assert!(old.unchanged(&row(1, "x")).is_none() && old.unchanged(&row(9, "a")).is_none());
    }
}
