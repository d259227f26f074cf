//! Simulated small clouds, each decided by one seed: everything that can go wrong goes wrong, and judges that share
//! no code with the program watch every request.
//!
//! `FIFO_RETAIN_SIM_SEEDS` says how many seeds are run, `FIFO_RETAIN_SIM_START` with which seed the first begins.
//! With `FIFO_RETAIN_SIM_GO_ON=1` all violations of all seeds are listed, instead of the first in full.
//! A failure prints the seed, the shortest scenario that still shows it, and the command that repeats it.
//! `docs/safety.md` says what is promised, and which test holds it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that fails says all it knows"
)]

mod cloud;
mod disturbances;
mod generator;
mod judges;
mod life;
mod own_clock;
mod scenario;
mod state_folder;
#[path = "../apply/transport.rs"]
mod transport;

use life::{Lived, live};
use scenario::Scenario;
use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const SHRINK_FOR: Duration = Duration::from_secs(30);

const SEEDS: u64 = 300;

/// The seeds that have shown something, whether in the program or in the judges, since the generator last changed.
const EVER_FAILED: [u64; 20] = [
    23, 2_289, 3_556, 4_974, 6_153, 6_865, 7_394, 7_484, 9_175, 9_541, 12_099, 12_756, 13_064, 15_297,
    15_372, 16_289, 16_909, 18_597, 19_097, 7_300_602,
];

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

#[test]
fn no_life_breaks_a_promise() {
    let start = setting("FIFO_RETAIN_SIM_START", 0);
    let seeds: Vec<u64> = (start..start + setting("FIFO_RETAIN_SIM_SEEDS", SEEDS)).collect();
    let began = Instant::now();
    let (mut days, mut requests, mut disturbances, mut broken) = (0, 0, 0, 0);
    let goes_on = setting("FIFO_RETAIN_SIM_GO_ON", 0) > 0;
    each(&seeds, |seed, scenario, lived| {
        if !lived.found.is_empty() && !goes_on {
            fail(seed, scenario, lived);
        }
        for found in &lived.found {
            eprintln!("seed {seed}: {found}");
        }
        broken += usize::from(!lived.found.is_empty());
        days += lived.time.as_secs() / 86_400;
        requests += lived.requests;
        disturbances += lived.disturbances;
        ControlFlow::Continue(())
    });
    eprintln!(
        "{} seeds from {start} in {:.0?}: {days} days, {requests} requests, {disturbances} disturbances",
        seeds.len(),
        began.elapsed()
    );
    assert_eq!(broken, 0, "so many seeds break a promise");
}

#[test]
fn what_ever_failed_passes() {
    each(&EVER_FAILED, |seed, scenario, lived| {
        if !lived.found.is_empty() {
            fail(seed, scenario, lived);
        }
        ControlFlow::Continue(())
    });
}

#[test]
fn the_same_seed_is_the_same_life() {
    for seed in [3, 17, 40] {
        assert_eq!(live(&Scenario::of(seed)), live(&Scenario::of(seed)));
    }
}

/// Runs seeds on all cores, until one is enough. They end in any order.
fn each(seeds: &[u64], look: impl FnMut(u64, Scenario, Lived) -> ControlFlow<()> + Send) {
    let (next, look) = (AtomicUsize::new(0), Mutex::new(look));
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..std::thread::available_parallelism().map_or(1, usize::from))
            .map(|_| {
                scope.spawn(|| {
                    while let Some(&seed) = seeds.get(next.fetch_add(1, Ordering::SeqCst)) {
                        let scenario = Scenario::of(seed);
                        let lived = live(&scenario);
                        // It is poisoned when another one has failed, which has reported that.
                        let Ok(mut look) = look.lock() else { break };
                        if look(seed, scenario, lived).is_break() {
                            next.store(seeds.len(), Ordering::SeqCst);
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

/// Takes steps out of a life as long as it still shows what it showed, and returns what is left.
fn fail(seed: u64, mut scenario: Scenario, mut lived: Lived) -> ! {
    eprintln!("seed {seed} breaks a promise: {:?}; looking for a shorter life", lived.found);
    let began = Instant::now();
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
    panic!(
        "seed {seed} breaks a promise:\n  {}\nshortest life:\n{scenario:#?}\n{}\n\
         again: FIFO_RETAIN_SIM_START={seed} FIFO_RETAIN_SIM_SEEDS=1 cargo test --release --test simulation",
        lived.found.join("\n  "),
        lived.history
    );
}
