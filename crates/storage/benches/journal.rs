//! What the journal makes on this machine's disk: appending with one sync a group, and reading back.
//!
//! `cargo bench -p hearthgate-storage --bench journal`; the files are under `CARGO_TARGET_TMPDIR`, so on the disk that
//! is built on, not in a memory file system.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hearthgate_domain::delivery::{MessageOrigin, QoS};
use hearthgate_domain::flow::PromisedActions;
use hearthgate_storage::journal::{ConsumerStart, EntryTarget, Journal, JournalEntry, JournalOptions, TargetVerdict};
use std::hint::black_box;
use tempfile::TempDir;

const PAYLOAD: &[u8] = br#"{"temperature":21.50,"humidity":48,"battery":3.01,"n":12345}"#;
const TARGETS: &[EntryTarget<'static>] =
    &[EntryTarget { flow_id: Some(1), verdict: TargetVerdict::Accepted(PromisedActions::UNKNOWN) }];

fn entries(count: usize) -> Vec<JournalEntry<'static>> {
    let entry = |number: usize| JournalEntry {
        topic: "home/livingroom/climate",
        payload: PAYLOAD,
        received_at: 1_700_000_000_000_000,
        qos: QoS::AtLeastOnce,
        retain: false,
        is_restored: false,
        origin: Some(MessageOrigin { session: 1, packet_id: (number % 65_535) as u16 + 1, dup: false }),
        targets: TARGETS,
    };
    (0..count).map(entry).collect()
}

fn journal() -> (TempDir, Journal) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let (journal, _) = Journal::open(dir.path(), JournalOptions::default()).expect("a journal");
    (dir, journal)
}

fn append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("append_and_sync");
    for count in [1, 100, 500, 1_000, 2_000, 5_000] {
        let entries = entries(count);
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            let (_dir, mut journal) = journal();
            bencher.iter(|| {
                journal.append(&entries).expect("room");
                journal.sync().expect("a disk");
            });
        });
    }
    group.finish();
    let entries = entries(500);
    let mut group = criterion.benchmark_group("append_without_sync");
    group.throughput(Throughput::Elements(500));
    group.bench_function("500", |bencher| {
        let (_dir, mut journal) = journal();
        bencher.iter(|| journal.append(&entries).expect("room"));
    });
    group.finish();
}

fn read(criterion: &mut Criterion) {
    let (_dir, mut journal) = journal();
    let handle = journal.handle();
    handle.register("bench", ConsumerStart::Oldest).expect("a consumer");
    let entries = entries(500);
    for _ in 0..200 {
        journal.append(&entries).expect("room");
    }
    journal.sync().expect("a disk");
    let mut group = criterion.benchmark_group("read");
    group.throughput(Throughput::Elements(100_000));
    group.bench_function("100000", |bencher| {
        bencher.iter(|| {
            let mut reader = handle.reader_after(0);
            let mut bytes = 0;
            loop {
                let batch = reader.next_batch(500, 1 << 20).expect("entries");
                bytes += batch.entries.iter().map(|entry| black_box(entry).payload.len()).sum::<usize>();
                if batch.caught_up {
                    break bytes;
                }
            }
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = append, read
}
criterion_main!(benches);
