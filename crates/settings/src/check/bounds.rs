//! Numbers and durations within their bounds.

use super::Rules;
use crate::sections::GatewaySettings;
use crate::types::DurationText;
use std::time::Duration;

impl Rules<'_> {
    pub(super) fn bounds(&mut self, settings: &GatewaySettings) {
        let at_least = |period: DurationText, least: Duration| period.0 >= least;
        let second = Duration::from_secs(1);
        let milli = Duration::from_millis(1);
        for (key, period, least) in [
            ("gateway.shutdown_timeout", settings.gateway.shutdown_timeout, milli),
            ("broker.connect_timeout", settings.broker.connect_timeout, milli),
            ("mqtt.connect_timeout", settings.mqtt.connect_timeout, milli),
            ("mqtt.keep_alive", settings.mqtt.keep_alive, second),
            ("mqtt.health_interval", settings.mqtt.health_interval, second),
            ("mqtt.reconnect.initial", settings.mqtt.reconnect.initial, milli),
            ("flows.reload_interval", settings.flows.reload_interval, second),
            ("endpoints.http_timeout", settings.endpoints.http_timeout, milli),
            ("database.connect_timeout", settings.database.connect_timeout, milli),
            ("supervision.stall_timeout", settings.supervision.stall_timeout, Duration::from_millis(100)),
        ] {
            if !at_least(period, least) {
                let least = DurationText(least);
                self.error(key, format!("{period} is too short"), format!("use at least {least}"));
            }
        }
        if settings.mqtt.keep_alive.0 > Duration::from_secs(65_535) {
            self.error("mqtt.keep_alive", "MQTT allows at most 65535 seconds", "use \"18h\" or less");
        }
        for (key, part) in [
            ("mqtt.reconnect.jitter", settings.mqtt.reconnect.jitter),
            ("endpoints.jitter", settings.endpoints.jitter),
            ("supervision.jitter", settings.supervision.jitter),
        ] {
            if !(0.0..=1.0).contains(&part) {
                self.error(key, format!("{part} is no part of one"), "use a number from 0 to 1");
            }
        }
        for (key, count) in [
            ("broker.limits.max_inflight", usize::from(settings.broker.limits.max_inflight)),
            ("broker.limits.max_connections", settings.broker.limits.max_connections),
            ("mqtt.limits.max_inflight", usize::from(settings.mqtt.limits.max_inflight)),
            ("mqtt.limits.max_outgoing", settings.mqtt.limits.max_outgoing),
            ("mapper.queue", settings.mapper.queue),
            ("store.batch", settings.store.batch),
            ("endpoints.parallel", settings.endpoints.parallel),
            ("database.max_connections", settings.database.max_connections as usize),
        ] {
            if count == 0 {
                self.error(key, "nothing could pass with 0", "use 1 or more");
            }
        }
    }
}
