//! End to end: the real binary, real brokers, real databases, real endpoints.

#![expect(clippy::disallowed_methods, reason = "a test has no actor that its tasks could belong to")]

mod backfill;
mod broker_away;
mod brokers;
mod certificates;
mod changed_tables;
mod clients;
mod clock;
mod crash;
mod damage;
mod dashboards;
mod deadly;
mod devices;
mod encryption;
mod endpoints;
mod entry;
mod first_run;
mod flows;
mod gallery;
mod homeassistant;
mod interfaces;
mod isolation;
mod journal;
mod malformed;
mod maps;
mod notifications;
mod opening;
mod outage;
mod page;
mod proxied;
mod python;
mod readings;
mod restores;
mod security;
mod servers;
mod shapes;
mod sharing;
mod sizes;
mod steering;
mod supervision;
mod switches;
mod ten_interfaces;
mod torture;
mod windows;
mod words;
