//! The faults, each as a change of one place in the sources.

/// A fault that is put in on purpose.
pub(super) struct SeededMutant {
    /// What is wrong then.
    pub(super) name: &'static str,
    /// Where.
    pub(super) file: &'static str,
    /// What stands there, once.
    pub(super) find: &'static str,
    /// What stands there then.
    pub(super) replace: &'static str,
}

/// See [`SeededMutant`].
pub(super) const MUTANTS: &[SeededMutant] = &[
    SeededMutant {
        name: "the journal is not synced before the acknowledgement",
        file: "crates/storage/src/journal/writer/mod.rs",
        find: "if let Err(source) = active.file.sync_data() {",
        replace: "if let Err(source) = active.file.length() {",
    },
    SeededMutant {
        name: "a failed sync is tried again",
        file: "crates/storage/src/journal/writer/mod.rs",
        find: "return Err(self.abandon_segment(source));",
        replace: "active.file.sync_data().map_err(|_| JournalError::io(\"sync\", &active.path, source))?;",
    },
    SeededMutant {
        name: "a new segment is not synced",
        file: "crates/storage/src/journal/writer/segment.rs",
        find: "file.sync_all().map_err(failed(\"sync\"))?;",
        replace: "",
    },
    SeededMutant {
        name: "the name of a new segment is not synced",
        file: "crates/storage/src/journal/writer/segment.rs",
        find: "disk::sync_folder(dir).map_err(|source| JournalError::io(\"sync\", dir, source))?;",
        replace: "",
    },
    SeededMutant {
        name: "a segment is closed without a sync",
        file: "crates/storage/src/journal/writer/segment.rs",
        find: "        self.sync()?;\n        if let Some(active) = self.active.take() {",
        replace: "        if let Some(active) = self.active.take() {",
    },
    SeededMutant {
        name: "a slot is not synced",
        file: "crates/storage/src/journal/files/slots.rs",
        find: ".and_then(|()| file.sync_data())",
        replace: "",
    },
    SeededMutant {
        name: "a slot is written in place",
        file: "crates/storage/src/journal/files/slots.rs",
        find: "&self.files[(generation % 2) as usize]",
        replace: "&self.files[0]",
    },
    SeededMutant {
        name: "the older slot is taken",
        file: "crates/storage/src/journal/files/slots.rs",
        find: "if number > generation ||",
        replace: "if number < generation ||",
    },
    SeededMutant {
        name: "a slot that failed counts as written",
        file: "crates/storage/src/journal/files/slots.rs",
        find: "        let generation = self.generation + 1;",
        replace: "        self.generation += 1;\n        let generation = self.generation;",
    },
    SeededMutant {
        name: "the checksum of a slot is not looked at",
        file: "crates/storage/src/journal/files/slots.rs",
        find: "head == magic && crc32c::crc32c(content) == u32::from_le_bytes(*checksum)",
        replace: "head == magic && !checksum.is_empty()",
    },
    SeededMutant {
        name: "the checksum of a group's body is not looked at",
        file: "crates/storage/src/journal/format/mod.rs",
        find: "salt.checksum(body) == self.body_checksum",
        replace: "!body.is_empty() || salt.checksum(body) == self.body_checksum",
    },
    SeededMutant {
        name: "the checksum of a body covers its front only",
        file: "crates/storage/src/journal/format/mod.rs",
        find: "        crc32c::crc32c_append(self.0, bytes)",
        replace: "        crc32c::crc32c_append(self.0, &bytes[..bytes.len().min(64)])",
    },
    SeededMutant {
        name: "a hole in what was not synced counts as damage",
        file: "crates/storage/src/journal/recovery/tail.rs",
        find: "                examined.cut_unsynced();\n",
        replace: "",
    },
    SeededMutant {
        name: "a group does not say what was synced before it",
        file: "crates/storage/src/journal/writer/mod.rs",
        find: "entries, first, active.salt, active.durable);",
        replace: "entries, first, active.salt, 0);",
    },
    SeededMutant {
        name: "what an earlier process wrote is not written again",
        file: "crates/storage/src/journal/recovery/tail.rs",
        find: "        write_again(last, &examined)?;\n",
        replace: "",
    },
    SeededMutant {
        name: "a group of the recovery says too much of its predecessors",
        file: "crates/storage/src/journal/recovery/tail.rs",
        find: "GroupHeader { count, synced: examined.synced, ..",
        replace: "GroupHeader { count, ..",
    },
    SeededMutant {
        name: "the mended end is not synced",
        file: "crates/storage/src/journal/recovery/tail.rs",
        find: "        last.file.sync_all().map_err(last.failed(\"sync\"))?;\n",
        replace: "",
    },
    SeededMutant {
        name: "a torn end stays",
        file: "crates/storage/src/journal/recovery/tail.rs",
        find: "segment.file.truncate(examined.end).map_err(segment.failed(\"cut the torn end off\"))?;",
        replace: "",
    },
    SeededMutant {
        name: "numbers that may have been given out are given out again",
        file: "crates/storage/src/journal/recovery/tail.rs",
        find: "let mut next = examined.next.max(floor.given);",
        replace: "let mut next = examined.next;",
    },
    SeededMutant {
        name: "a segment that was never in use says too much of those before it",
        file: "crates/storage/src/journal/recovery/tail.rs",
        find: "floor.safe = floor.safe.max(last.safe_before());",
        replace: "floor.safe = floor.safe.max(last.base);",
    },
    SeededMutant {
        name: "readers stop at a segment without entries",
        file: "crates/storage/src/journal/reader.rs",
        find: "while index.segments.get(place)",
        replace: "if index.segments.get(place)",
    },
    SeededMutant {
        name: "a position that an earlier process wrote counts as durable",
        file: "crates/storage/src/journal/state/consumers.rs",
        find: "ConsumerPosition { released, durable: 0 }",
        replace: "ConsumerPosition { released, durable: released }",
    },
    SeededMutant {
        name: "a position is durable before it is stored",
        file: "crates/storage/src/journal/handle.rs",
        find: "            position.released = through;\n",
        replace: "            position.released = through;\n            position.durable = through;\n",
    },
    SeededMutant {
        name: "a position is moved one too far",
        file: "crates/storage/src/journal/state/consumers.rs",
        find: "out.extend_from_slice(&position.released.to_le_bytes());",
        replace: "out.extend_from_slice(&(position.released + 1).to_le_bytes());",
    },
    SeededMutant {
        name: "segments go one entry early",
        file: "crates/storage/src/journal/state/mod.rs",
        find: "front.end <= released.saturating_add(1)",
        replace: "front.end <= released.saturating_add(2)",
    },
    SeededMutant {
        name: "numbers of a failed sync are told as gone",
        file: "crates/storage/src/journal/reader.rs",
        find: "self.skip_to(voids_from, SkipReason::Gone, skipped);",
        replace: "self.skip_to(oldest, SkipReason::Gone, skipped);",
    },
    SeededMutant {
        name: "readers see what is not synced",
        file: "crates/storage/src/journal/writer/mod.rs",
        find: "        self.next_seq = seqs.end;\n        self.newest = now;",
        replace: "        self.next_seq = seqs.end;\n        self.newest = now;\n        self.publish(seqs.end);",
    },
    SeededMutant {
        name: "what a failed sync took back counts for redelivered",
        file: "crates/storage/src/journal/writer/segment.rs",
        find: "        self.written.retract_from(first);\n",
        replace: "",
    },
    SeededMutant {
        name: "the snapshot of what is owed is too old",
        file: "crates/storage/src/journal/writer/segment.rs",
        find: "self.keep_snapshot(voids_from)?;",
        replace: "",
    },
    SeededMutant {
        name: "entries since the snapshot are not owed",
        file: "crates/storage/src/journal/recovery/fold.rs",
        find: "                    folded.owed.record(&origin, content_hash(entry.topic, entry.payload), seq);",
        replace: "",
    },
    SeededMutant {
        name: "connections are not played back",
        file: "crates/storage/src/journal/recovery/fold.rs",
        find: "            self.owed.replay(note.event);",
        replace: "",
    },
    SeededMutant {
        name: "DUP is not looked at",
        file: "crates/domain/src/redelivery/mod.rs",
        find: "session.find(origin.packet_id, hash).filter(|_| origin.dup)",
        replace: "session.find(origin.packet_id, hash).filter(|_| false)",
    },
    SeededMutant {
        name: "the hash of a redelivery is not looked at",
        file: "crates/domain/src/redelivery/session.rs",
        find: ".copied().filter(|entry| entry.hash == hash)",
        replace: ".copied().filter(|_| hash != 0)",
    },
    SeededMutant {
        name: "a reused identifier ends other connections' entries",
        file: "crates/domain/src/redelivery/session.rs",
        find: "if entry.connection != connection || entry.position < from {",
        replace: "if entry.position < from {",
    },
];
