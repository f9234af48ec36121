//! The API on a real socket, asked with real HTTP.

mod access;
mod actors;
mod gateway;
mod probes;
