//! End to end: the real binary, real brokers, real databases, real endpoints.

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
mod supervision;
mod switches;
mod ten_interfaces;
mod torture;
