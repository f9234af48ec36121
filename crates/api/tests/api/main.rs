//! The API on a real socket, asked with real HTTP.

mod access;
mod actors;
mod document;
mod gateway;
mod page;
mod probes;
