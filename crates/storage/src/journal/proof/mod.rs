//! The journal on a simulated disk that loses its power at any call: what was acknowledged is there, once and in order.
//!
//! Everything of a history follows from one number. A history that breaks a promise prints it;
//! `HEARTHGATE_SEED=… cargo test -p hearthgate-storage --lib journal::proof::one_seed` makes the same calls again and cuts the power at the
//! same one. The whole: `cargo xtask prove`.

mod checks;
mod history;
mod senders;
mod world;

use history::{FirstCut, History, HistoryCount};
use std::time::{Duration, Instant};

/// Histories that the ordinary tests try.
const FEW: u64 = 150;

/// Prints how a history that fails is run again.
struct SeedNotice {
    seed: u64,
    cut: FirstCut,
}

impl Drop for SeedNotice {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let cut = match self.cut {
                FirstCut::ByChance => String::new(),
                FirstCut::At(call) => format!(" HEARTHGATE_CUT={call}"),
                FirstCut::Never => " HEARTHGATE_CUT=0".to_owned(),
            };
            eprintln!("again: HEARTHGATE_SEED={}{cut}", self.seed);
        }
    }
}

fn run(seed: u64, cut: FirstCut) -> HistoryCount {
    let _notice = SeedNotice { seed, cut };
    History::new(seed, cut).run()
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn one_seed() {
    let Some(seed) = number("HEARTHGATE_SEED") else { return };
    let cut = match number("HEARTHGATE_CUT") {
        None => FirstCut::ByChance,
        Some(0) => FirstCut::Never,
        Some(call) => FirstCut::At(call),
    };
    eprintln!("{:?}", run(seed, cut));
}

#[test]
fn acknowledged_messages_survive_power_cuts_once_and_in_order() {
    let mut count = HistoryCount::default();
    for seed in 1..=FEW {
        count.add(&run(seed, FirstCut::ByChance));
    }
    assert!(count.cuts > FEW && count.safe > 10 * FEW, "{count:?}");
}

#[test]
fn the_power_may_go_at_every_call() {
    let seed = 3;
    let calls = run(seed, FirstCut::Never).first_calls;
    assert!(calls > 100, "{calls}");
    for call in 1..=calls {
        run(seed, FirstCut::At(call));
    }
}

#[test]
fn a_seed_makes_the_same_calls_again() {
    for seed in 1..=10 {
        assert_eq!(run(seed, FirstCut::ByChance), run(seed, FirstCut::ByChance));
    }
}

#[test]
fn flipped_bits_are_told_and_never_read_as_something_else() {
    for seed in 1..=FEW {
        let _notice = SeedNotice { seed, cut: FirstCut::Never };
        history::run_with_rot(seed);
    }
}

/// The long one, for `cargo xtask prove`: new seeds until the time is over.
#[test]
#[ignore = "as long as HEARTHGATE_PROVE_SECONDS says"]
fn prove_for_long() {
    let time = Duration::from_secs(number("HEARTHGATE_PROVE_SECONDS").unwrap_or(60));
    let first = number("HEARTHGATE_PROVE_FROM").unwrap_or(1_000_000);
    let (begun, mut count, mut seed) = (Instant::now(), HistoryCount::default(), first);
    while begun.elapsed() < time {
        count.add(&run(seed, FirstCut::ByChance));
        let _notice = SeedNotice { seed, cut: FirstCut::Never };
        history::run_with_rot(seed);
        seed += 1;
    }
    println!("proof: seeds {first} to {}, {count}, {} s", seed - 1, begun.elapsed().as_secs());
}
