//! Flows that publish to each other in a circle.

use crate::flow::{Flow, FlowAction};
use std::collections::BTreeSet;

/// Finds circles of enabled flows: each publishes to a topic that the next one takes, and the last to one of the first's.
/// Only topics without template parts are known beforehand. Each flow is in one of the circles at most, which is enough to
/// see that something is wrong.
#[must_use]
pub fn find_circles<'a>(flows: &[&'a Flow]) -> Vec<Vec<&'a Flow>> {
    let flows: Vec<&Flow> = flows.iter().copied().filter(|flow| flow.enabled).collect();
    let next: Vec<Vec<usize>> = flows.iter().map(|flow| takers(flow, &flows)).collect();
    let mut circles: Vec<Vec<&Flow>> = Vec::new();
    let mut done = BTreeSet::new();
    for start in 0..flows.len() {
        if done.contains(&start) {
            continue;
        }
        if let Some(way) = way_back(start, &next) {
            done.extend(way.iter().copied());
            circles.push(way.into_iter().map(|index| flows[index]).collect());
        }
    }
    circles
}

/// How a message goes through the circle, for people: `A → B → A`.
#[must_use]
pub fn describe_circle(circle: &[&Flow]) -> String {
    let codes: Vec<&str> = circle.iter().chain(circle.first()).map(|flow| &*flow.code).collect();
    codes.join(" → ")
}

/// Who takes what a flow publishes.
fn takers(flow: &Flow, flows: &[&Flow]) -> Vec<usize> {
    let topics: Vec<&str> = flow.actions.iter().filter_map(literal_topic).collect();
    if topics.is_empty() {
        return Vec::new();
    }
    let takes = |other: &Flow| topics.iter().any(|topic| other.topic.filter().matches(topic));
    flows.iter().enumerate().filter(|(_, other)| takes(other)).map(|(index, _)| index).collect()
}

/// The topic that an action publishes to, if it is the same for each message.
fn literal_topic(action: &FlowAction) -> Option<&str> {
    match action {
        FlowAction::Publish { topic, .. } if !topic.contains("{{") && !topic.contains("{%") => Some(topic),
        FlowAction::Publish { .. }
        | FlowAction::StoreDb {}
        | FlowAction::PostEndpoint {}
        | FlowAction::Notify { .. }
        | FlowAction::Log { .. } => None,
    }
}

/// The shortest way from a flow back to itself.
fn way_back(start: usize, next: &[Vec<usize>]) -> Option<Vec<usize>> {
    let mut before: Vec<Option<usize>> = vec![None; next.len()];
    let mut queue = std::collections::VecDeque::from([start]);
    while let Some(at) = queue.pop_front() {
        for &to in &next[at] {
            if to == start {
                let mut way = vec![at];
                while let Some(&last) = way.last().filter(|last| **last != start)
                    && let Some(from) = before[last]
                {
                    way.push(from);
                }
                way.reverse();
                return Some(way);
            }
            if before[to].is_none() {
                before[to] = Some(at);
                queue.push_back(to);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::FlowRow;

    fn flow(code: &str, topic: &str, to: &str) -> Flow {
        Flow::compile(FlowRow {
            code: code.into(),
            topic: topic.into(),
            action: "PUBLISH".into(),
            payload_schema: "{}".into(),
            options: Some(format!(r#"{{"actions":[{{"type":"PUBLISH","topic":"{to}"}}]}}"#)),
            enabled: true,
            ..FlowRow::default()
        })
        .unwrap()
    }

    #[test]
    fn flows_that_publish_to_each_other_are_found_through_any_number_of_others() {
        let flows = [
            flow("OUTSIDE", "x", "a/1"),
            flow("FIRST", "a/+", "b"),
            flow("SECOND", "b", "c"),
            flow("THIRD", "c", "a/2"),
            flow("END", "c", "d"),
        ];
        let circles = find_circles(&flows.iter().collect::<Vec<_>>());
        let described: Vec<String> = circles.iter().map(|circle| describe_circle(circle)).collect();
        assert_eq!(described, ["FIRST → SECOND → THIRD → FIRST"]);
    }

    #[test]
    fn without_a_way_back_there_is_no_circle_nor_with_a_flow_that_is_off() {
        let mut flows = [flow("A", "a", "b"), flow("B", "b", "c"), flow("C", "c", "a")];
        flows[1].enabled = false;
        assert!(find_circles(&flows.iter().collect::<Vec<_>>()).is_empty());
        let chain = [flow("A", "a", "b"), flow("B", "b", "c"), flow("T", "c", "{{ topic }}")];
        assert!(find_circles(&chain.iter().collect::<Vec<_>>()).is_empty());
    }
}
