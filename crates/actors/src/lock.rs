//! The one way to lock in this crate.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What lies behind the locks here is valid at any time, so one whose holder has panicked is as good as another.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
