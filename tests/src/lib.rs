//! What the end-to-end tests share: services, the binary under test, clients.
