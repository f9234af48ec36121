//! Topics of flows on which nothing can ever come.

use hearthgate_domain::flow::Flow;
use hearthgate_domain::topic::TopicFilter;
use hearthgate_mqtt::broker::matches_figures;
use hearthgate_settings::{BrokerUrl, GatewaySettings};

/// Why the flow's filter may match nothing that is ever published.
pub(super) fn topic_doubts(flow: &Flow, settings: &GatewaySettings) -> Vec<String> {
    let filter = flow.topic.filter();
    let text = filter.as_str();
    let mut doubts = Vec::new();
    if text.trim() != text {
        doubts.push(format!("the topic {text:?} begins or ends with blanks, which are part of it; remove them"));
    }
    if text.trim().contains(char::is_control) {
        doubts.push(format!("the topic {text:?} holds control characters, which brokers refuse; remove them"));
    }
    if settings.mqtt.server != BrokerUrl::Embedded {
        return doubts;
    }
    if text.starts_with("$SYS/") || text == "$SYS" {
        if !matches_figures(text) {
            doubts.push(format!(
                "topic: the embedded broker has nothing at {text}; `mosquitto_sub -v -t '$SYS/#'` shows what it has"
            ));
        }
    } else if !is_open(filter, settings) {
        doubts.push(format!("topic: no user of the embedded broker may publish to {text}; see broker.users"));
    }
    doubts
}

/// Whether somebody may publish to a topic that the filter matches. Interfaces of the gateway's own always may.
fn is_open(filter: &TopicFilter, settings: &GatewaySettings) -> bool {
    let broker = &settings.broker;
    if !broker.is_enabled() || settings.mapper.enabled && settings.interfaces.values().any(|config| config.enabled) {
        return true;
    }
    let mut rights: Vec<&Option<Vec<String>>> = broker.users.values().map(|user| &user.publish).collect();
    if broker.allow_anonymous {
        rights.push(&broker.anonymous.publish);
    }
    rights.iter().any(|right| right.as_ref().is_none_or(|filters| filters.iter().any(|right| may_match(right, filter))))
}

/// A level with `%u` or `%c` may be anything.
fn may_match(right: &str, filter: &TopicFilter) -> bool {
    let level = |level: &'_ str| if level.contains('%') { "+".to_owned() } else { level.to_owned() };
    let right = right.split('/').map(level).collect::<Vec<_>>().join("/");
    TopicFilter::parse(&right).map_or(true, |right| right.overlaps(filter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_with_a_users_name_may_match_any_level() {
        let filter = TopicFilter::parse("home/kitchen/t").unwrap();
        assert!(may_match("home/%u/#", &filter));
        assert!(may_match("#", &filter));
        assert!(!may_match("garden/%u/#", &filter));
    }
}
