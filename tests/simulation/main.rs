//! Whole lives of small clouds, each decided by one seed: everything that can go wrong goes wrong, and judges that share
//! no code with the program watch every request.
//!
//! `FIFO_RETAIN_SIM_SEEDS` says how many lives are lived, `FIFO_RETAIN_SIM_START` with which seed the first begins.
//! A failure prints the seed, the shortest life that still shows it, and the command that lives it again.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that fails says all it knows"
)]

mod judges;
mod life;
mod scenario;
#[path = "../apply/transport.rs"]
mod transport;

use life::{Lived, live};
use scenario::Scenario;
use std::sync::atomic::{AtomicU64, Ordering};

/// How long a shorter life is looked for.
const SHRINK_FOR: std::time::Duration = std::time::Duration::from_secs(30);

/// How many lives fit into a test run.
const SEEDS: u64 = 300;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

#[test]
fn no_life_breaks_a_promise() {
    let start = setting("FIFO_RETAIN_SIM_START", 0);
    let end = start + setting("FIFO_RETAIN_SIM_SEEDS", SEEDS);
    let next = AtomicU64::new(start);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..std::thread::available_parallelism().map_or(1, usize::from))
            .map(|_| {
                scope.spawn(|| {
                    loop {
                        let seed = next.fetch_add(1, Ordering::SeqCst);
                        if seed >= end {
                            break;
                        }
                        let scenario = Scenario::of(seed);
                        let lived = live(&scenario);
                        if !lived.found.is_empty() {
                            next.store(end, Ordering::SeqCst);
                            fail(scenario, lived);
                        }
                    }
                })
            })
            .collect();
        for worker in workers {
            if let Err(panic) = worker.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
}

#[test]
fn the_same_seed_is_the_same_life() {
    for seed in [3, 17, 40] {
        assert_eq!(live(&Scenario::of(seed)), live(&Scenario::of(seed)));
    }
}

/// Takes steps out of a life as long as it still shows what it showed, and tells what is left.
fn fail(mut scenario: Scenario, mut lived: Lived) -> ! {
    eprintln!("seed {} breaks a promise: {:?}; looking for a shorter life", scenario.seed, lived.found);
    let began = std::time::Instant::now();
    let mut place = scenario.steps.len();
    while place > 0 && began.elapsed() < SHRINK_FOR {
        place -= 1;
        let mut shorter = scenario.clone();
        shorter.steps.remove(place);
        let again = live(&shorter);
        if !again.found.is_empty() {
            (scenario, lived) = (shorter, again);
            place = place.min(scenario.steps.len());
        }
    }
    let seed = scenario.seed;
    panic!(
        "seed {seed} breaks a promise:\n  {}\nshortest life:\n{scenario:#?}\n{}\n\
         again: FIFO_RETAIN_SIM_START={seed} FIFO_RETAIN_SIM_SEEDS=1 cargo test --release --test simulation",
        lived.found.join("\n  "),
        lived.history
    );
}
