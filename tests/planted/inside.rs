//! Lives with one deliberate fault at a time. Part of the copy of the simulation alone, see `tests/planted/main.rs`.

use crate::faults::{FAULTS, Fault};
use crate::life::live;
use crate::scenario::Scenario;
use crate::setting;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Within so many lives every fault has to be noticed.
const SEEDS: u64 = 40;

/// The faults that few seeds show, each with the first one that is looked at.
const RARE: [(&str, u64); 1] = [("prunes_after_an_unknown_effect", 370)];

#[test]
fn every_planted_fault_is_noticed() {
    let only = std::env::var("FIFO_RETAIN_SIM_FAULT").ok();
    let is_looked_for = |fault: &&Fault| only.as_ref().is_none_or(|only| only == fault.name);
    let faults: Vec<&Fault> = FAULTS.iter().copied().flatten().filter(is_looked_for).collect();
    let (next, missed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(fault) = faults.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let began = Instant::now();
                    let noticed = first_noticed(fault);
                    let took = Duration::from_secs(began.elapsed().as_secs());
                    match noticed {
                        Some((seed, found)) => {
                            eprintln!("fault {}: seed {seed}, {took:?}: {found}", fault.name)
                        }
                        None => {
                            eprintln!("fault {}: not noticed, {took:?}", fault.name);
                            missed.lock().unwrap().push(fault.name);
                        }
                    }
                }
            });
        }
    });
    let missed = missed.into_inner().unwrap();
    assert!(missed.is_empty(), "not noticed within {SEEDS} lives: {missed:?}");
}

/// Finds the first life that breaks a promise with the fault and none without it.
fn first_noticed(fault: &Fault) -> Option<(u64, String)> {
    let on: Vec<&'static str> = fault.behind.iter().copied().chain([fault.name]).collect();
    let rare = RARE.iter().find(|(name, _)| *name == fault.name).map_or(0, |(_, first)| *first);
    let first = setting("FIFO_RETAIN_SIM_FAULT_START", rare);
    let seeds = first..first + setting("FIFO_RETAIN_SIM_FAULT_SEEDS", SEEDS);
    for seed in seeds {
        fifo_retain::plant(&on);
        let with = live(&Scenario::of(seed));
        let Some(found) = with.found.into_iter().next() else { continue };
        fifo_retain::plant(fault.behind);
        if live(&Scenario::of(seed)).found.is_empty() {
            return Some((seed, found));
        }
    }
    None
}
