//! The HTTP API: health, actors, metrics.
