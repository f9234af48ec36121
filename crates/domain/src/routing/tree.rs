//! A trie over topic levels: finds the filters that match a topic without walking through all of them.
//!
//! A level is interned once a match, then every step down the trie is a lookup of two integers. The work grows with
//! the levels of the topic and the wildcards on its path, not with the number of filters.

use crate::topic::TopicFilter;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Values under topic filters. Several values may stand under one filter, in the order of their insertion.
#[derive(Clone, Debug)]
pub struct FilterTree<T> {
    nodes: Vec<Node<T>>,
    free_nodes: Vec<NodeId>,
    edges: HashMap<Edge, NodeId, BuildHasherDefault<EdgeHasher>>,
    levels: Levels,
    values: usize,
}

type NodeId = u32;
type LevelId = u32;

const ROOT: NodeId = 0;
/// No such node: the root is nobody's child.
const NONE: NodeId = 0;
/// A level of a topic that no filter holds; it can only be matched by a wildcard.
const UNKNOWN: LevelId = LevelId::MAX;
/// Levels of a topic, and branches still to visit, that are kept without allocating.
const INLINE: usize = 32;

#[derive(Clone, Debug)]
struct Node<T> {
    /// The child for `+`.
    plus: NodeId,
    /// The child for `#`.
    hash: NodeId,
    /// How many children there are, of all three sorts.
    children: u32,
    values: Vec<T>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Edge {
    from: NodeId,
    level: LevelId,
}

impl<T> Default for FilterTree<T> {
    fn default() -> Self {
        Self {
            nodes: vec![Node::empty()],
            free_nodes: Vec::new(),
            edges: HashMap::default(),
            levels: Levels::default(),
            values: 0,
        }
    }
}

impl<T> FilterTree<T> {
    /// An empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values
    }

    /// Whether there is no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values == 0
    }

    /// Adds a value under a filter, after those that are there.
    pub fn insert(&mut self, filter: &TopicFilter, value: T) {
        let mut at = ROOT;
        for level in filter.levels() {
            at = self.child_or_new(at, level);
        }
        self.node_mut(at).values.push(value);
        self.values += 1;
    }

    /// Takes the first value under exactly this filter for which `wanted` holds.
    pub fn remove(&mut self, filter: &TopicFilter, wanted: impl FnMut(&T) -> bool) -> Option<T> {
        let path = self.path(filter)?;
        let values = &mut self.node_mut(*path.last()?).values;
        let value = values.iter().position(wanted).map(|index| values.remove(index))?;
        self.values -= 1;
        self.prune(filter, &path);
        Some(value)
    }

    /// The values under exactly this filter.
    #[must_use]
    pub fn get(&self, filter: &TopicFilter) -> &[T] {
        self.find(filter).map_or(&[], |node| &self.node(node).values)
    }

    /// The values under exactly this filter, to change in place.
    pub fn get_mut(&mut self, filter: &TopicFilter) -> &mut [T] {
        match self.find(filter) {
            Some(node) => &mut self.node_mut(node).values,
            None => &mut [],
        }
    }

    /// Calls `found` with each value whose filter matches the topic name, in no particular order. Allocates only for a
    /// topic of more than 32 levels.
    pub fn for_each_match<'a>(&'a self, topic: &str, mut found: impl FnMut(&'a T)) {
        let mut ids = Stack::new(UNKNOWN);
        // By bytes: on levels as short as these a search for a character costs more than it saves.
        for level in topic.as_bytes().split(|byte| *byte == b'/') {
            ids.push(self.levels.get(level));
        }
        let mut pending = Stack::new((ROOT, 0));
        let mut visit = Some((ROOT, 0));
        // Section 4.7.2: a leading wildcard does not match a topic with a leading `$`.
        let mut wildcards = !topic.starts_with('$');
        while let Some((at, depth)) = visit {
            let node = self.node(at);
            if node.hash != NONE && wildcards {
                self.node(node.hash).values.iter().for_each(&mut found);
            }
            visit = None;
            if depth == ids.len() {
                node.values.iter().for_each(&mut found);
            } else {
                if node.plus != NONE && wildcards {
                    visit = Some((node.plus, depth + 1));
                }
                if let Some(next) = self.literal_child(at, ids.get(depth)) {
                    visit.replace((next, depth + 1)).into_iter().for_each(|branch| pending.push(branch));
                }
            }
            wildcards = true;
            visit = visit.or_else(|| pending.pop());
        }
    }

    fn node(&self, id: NodeId) -> &Node<T> {
        &self.nodes[id as usize]
    }

    fn node_mut(&mut self, id: NodeId) -> &mut Node<T> {
        &mut self.nodes[id as usize]
    }

    fn literal_child(&self, at: NodeId, level: LevelId) -> Option<NodeId> {
        if level == UNKNOWN {
            return None;
        }
        self.edges.get(&Edge { from: at, level }).copied()
    }

    fn child(&self, at: NodeId, level: &str) -> Option<NodeId> {
        match level {
            "+" => Some(self.node(at).plus).filter(|child| *child != NONE),
            "#" => Some(self.node(at).hash).filter(|child| *child != NONE),
            literal => self.literal_child(at, self.levels.get(literal.as_bytes())),
        }
    }

    fn find(&self, filter: &TopicFilter) -> Option<NodeId> {
        filter.levels().try_fold(ROOT, |at, level| self.child(at, level))
    }

    /// The nodes from the root to the filter's, both included.
    fn path(&self, filter: &TopicFilter) -> Option<Vec<NodeId>> {
        let mut path = vec![ROOT];
        let mut at = ROOT;
        for level in filter.levels() {
            at = self.child(at, level)?;
            path.push(at);
        }
        Some(path)
    }

    fn child_or_new(&mut self, at: NodeId, level: &str) -> NodeId {
        if let Some(child) = self.child(at, level) {
            return child;
        }
        let child = self.new_node();
        match level {
            "+" => self.node_mut(at).plus = child,
            "#" => self.node_mut(at).hash = child,
            literal => {
                let level = self.levels.acquire(literal);
                self.edges.insert(Edge { from: at, level }, child);
            }
        }
        self.node_mut(at).children += 1;
        child
    }

    fn new_node(&mut self) -> NodeId {
        if let Some(id) = self.free_nodes.pop() {
            return id;
        }
        self.nodes.push(Node::empty());
        (self.nodes.len() - 1) as NodeId
    }

    /// Gives back what no filter needs any more, from the leaf upwards.
    fn prune(&mut self, filter: &TopicFilter, path: &[NodeId]) {
        let levels: Vec<&str> = filter.levels().collect();
        for (depth, level) in levels.iter().enumerate().rev() {
            let (parent, child) = (path[depth], path[depth + 1]);
            if !self.node(child).values.is_empty() || self.node(child).children > 0 {
                return;
            }
            match *level {
                "+" => self.node_mut(parent).plus = NONE,
                "#" => self.node_mut(parent).hash = NONE,
                literal => {
                    let level = self.levels.get(literal.as_bytes());
                    self.edges.remove(&Edge { from: parent, level });
                    self.levels.release(literal);
                }
            }
            self.node_mut(parent).children -= 1;
            *self.node_mut(child) = Node::empty();
            self.free_nodes.push(child);
        }
    }
}

impl<T> Node<T> {
    fn empty() -> Self {
        Self { plus: NONE, hash: NONE, children: 0, values: Vec::new() }
    }
}

/// The level texts in use, each with a number and the count of edges that bear it. Topics come from outside, so this
/// map keeps the standard library's keyed hasher.
#[derive(Clone, Debug, Default)]
struct Levels {
    /// Looked up some five times a message, which the standard hasher would make the most expensive part of it.
    ids: HashMap<Box<[u8]>, (LevelId, u32), foldhash::fast::RandomState>,
    free: Vec<LevelId>,
}

impl Levels {
    fn get(&self, level: &[u8]) -> LevelId {
        self.ids.get(level).map_or(UNKNOWN, |(id, _)| *id)
    }

    fn acquire(&mut self, level: &str) -> LevelId {
        if let Some((id, uses)) = self.ids.get_mut(level.as_bytes()) {
            *uses += 1;
            return *id;
        }
        // Every number below the count of levels is either in use or free.
        let id = self.free.pop().unwrap_or(self.ids.len() as LevelId);
        self.ids.insert(level.as_bytes().into(), (id, 1));
        id
    }

    fn release(&mut self, level: &str) {
        let Some((id, uses)) = self.ids.get_mut(level.as_bytes()) else { return };
        *uses -= 1;
        if *uses == 0 {
            self.free.push(*id);
            self.ids.remove(level.as_bytes());
        }
    }
}

/// A stack that allocates only beyond [`INLINE`] items.
struct Stack<I> {
    inline: [I; INLINE],
    length: usize,
    spilled: Vec<I>,
}

impl<I: Copy> Stack<I> {
    fn new(filler: I) -> Self {
        Self { inline: [filler; INLINE], length: 0, spilled: Vec::new() }
    }

    fn len(&self) -> usize {
        self.length + self.spilled.len()
    }

    fn get(&self, index: usize) -> I {
        if index < INLINE { self.inline[index] } else { self.spilled[index - INLINE] }
    }

    fn push(&mut self, item: I) {
        if self.length < INLINE {
            self.inline[self.length] = item;
            self.length += 1;
        } else {
            self.spilled.push(item);
        }
    }

    fn pop(&mut self) -> Option<I> {
        self.spilled.pop().or_else(|| {
            self.length = self.length.checked_sub(1)?;
            Some(self.inline[self.length])
        })
    }
}

impl std::hash::Hash for Edge {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(u64::from(self.from) << 32 | u64::from(self.level));
    }
}

/// Mixes the two small numbers of an [`Edge`]. They are ours, nobody outside chooses them.
#[derive(Clone, Copy, Default)]
struct EdgeHasher(u64);

impl Hasher for EdgeHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        let mixed = (self.0 ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = mixed ^ (mixed >> 32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(filters: &[&str]) -> FilterTree<String> {
        let mut tree = FilterTree::new();
        for filter in filters {
            tree.insert(&TopicFilter::parse(filter).unwrap(), (*filter).to_string());
        }
        tree
    }

    fn found(tree: &FilterTree<String>, topic: &str) -> Vec<String> {
        let mut found = Vec::new();
        tree.for_each_match(topic, |value| found.push(value.clone()));
        found.sort();
        found
    }

    #[test]
    fn every_matching_filter_is_found_once() {
        let tree = tree(&["a/b", "a/+", "+/b", "a/#", "#", "a/b/#", "a/b/c", "+/+/#", "b/#"]);
        assert_eq!(found(&tree, "a/b"), ["#", "+/+/#", "+/b", "a/#", "a/+", "a/b", "a/b/#"]);
        assert_eq!(found(&tree, "a"), ["#", "a/#"]);
    }

    #[test]
    fn leading_wildcards_leave_dollar_topics_alone() {
        let tree = tree(&["#", "+/x", "$SYS/#", "$SYS/x"]);
        assert_eq!(found(&tree, "$SYS/x"), ["$SYS/#", "$SYS/x"]);
    }

    #[test]
    fn what_is_removed_is_neither_found_nor_kept() {
        let mut tree = tree(&["a/b/c", "a/b", "a/+/c", "#"]);
        for filter in ["a/b/c", "a/+/c", "#"] {
            let filter = TopicFilter::parse(filter).unwrap();
            assert!(tree.remove(&filter, |_| true).is_some());
            assert!(tree.remove(&filter, |_| true).is_none());
        }
        assert_eq!(found(&tree, "a/b/c"), Vec::<String>::new());
        assert_eq!(found(&tree, "a/b"), ["a/b"]);
        assert_eq!(tree.edges.len(), 2);
        assert_eq!(tree.levels.ids.len(), 2);
        tree.remove(&TopicFilter::parse("a/b").unwrap(), |_| true);
        assert!(tree.is_empty() && tree.edges.is_empty() && tree.levels.ids.is_empty());
        assert_eq!(tree.free_nodes.len() + 1, tree.nodes.len());
    }

    #[test]
    fn a_topic_of_thirty_thousand_levels_is_matched_without_recursion() {
        let deep = "a/".repeat(30_000) + "a";
        let wild = "+/".repeat(30_000) + "+";
        let tree = tree(&[&deep, &wild, "a/#"]);
        assert_eq!(found(&tree, &deep).len(), 3);
    }
}
