//! Calls to HTTP endpoints: request, outcome, signature.
