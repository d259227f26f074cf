//! Judging the judges: with a deliberate fault in the program, some life must break a promise.

use crate::life::live;
use crate::scenario::Scenario;
use fifo_retain::sabotage::{self, Fault};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Within so many lives every fault has to be noticed.
const SEEDS: u64 = 500;

#[test]
fn every_planted_fault_is_noticed() {
    let (next, noticed) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(&fault) = Fault::ALL.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let first = (0..SEEDS).find_map(|seed| {
                        let lived = sabotage::with(fault, || live(&Scenario::of(seed)));
                        let found = lived.found.into_iter().next()?;
                        // Noticed is only what would not have been found without the fault.
                        live(&Scenario::of(seed)).found.is_empty().then_some((seed, found))
                    });
                    noticed.lock().unwrap().insert(format!("{fault:?}"), first);
                }
            });
        }
    });
    let noticed = noticed.into_inner().unwrap();
    for (fault, first) in &noticed {
        match first {
            Some((seed, found)) => eprintln!("{fault}: seed {seed}: {found}"),
            None => eprintln!("{fault}: not noticed"),
        }
    }
    let missed: Vec<_> = noticed.iter().filter(|(_, first)| first.is_none()).collect();
    assert!(missed.is_empty(), "not noticed within {SEEDS} lives: {missed:?}");
}
