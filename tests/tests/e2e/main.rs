//! End to end: the real binary, real brokers, real databases, real endpoints.

mod broker_away;
mod brokers;
mod clients;
mod crash;
mod endpoints;
mod entry;
mod first_run;
mod flows;
mod homeassistant;
mod interfaces;
mod malformed;
mod maps;
mod python;
mod security;
mod servers;
mod sharing;
mod opening;
mod sizes;
mod supervision;
mod switches;
mod ten_interfaces;
mod torture;
