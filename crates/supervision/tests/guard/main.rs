//! Guarded actors on real arbiters, seen from outside: through their address, their health and their control handle.

mod abort;
mod probe;
mod restarts;
mod stalls;
