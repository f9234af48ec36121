//! Keeps glibc's allocator from hoarding memory.
//!
//! Every actor has a thread of its own, and glibc would give each an arena that keeps what it once held; and it would raise
//! the size from which a buffer is given back to the system whenever a large one was. Two arenas and a fixed size cost
//! nothing that could be measured, and a fifth less memory stays resident under load (see docs/guarantees.md).

/// To be called before the first thread is started.
pub fn keep_small() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const BUFFER: libc::c_int = 128 << 10;
        let options = [(libc::M_ARENA_MAX, 2), (libc::M_MMAP_THRESHOLD, BUFFER), (libc::M_TRIM_THRESHOLD, BUFFER)];
        for (option, value) in options {
            // SAFETY: mallopt only changes the allocator's settings, and no other thread runs yet. When it refuses one, the
            // default stays.
            unsafe { libc::mallopt(option, value) };
        }
    }
}
