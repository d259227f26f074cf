//! Runs: one path for `apply`, `reconcile` and `reconcile --every`.
//!
//! [`run`] does one run by an order, whatever happens in it: it opens the [`fifo`], lets [`read`] plan, shows the plan, asks for
//! what needs approval (`approve`), and carries it out; `execute` has those who watch, and judges the result. [`every`] repeats
//! it, and serves the last result (`site` says what, `serve` how). [`reporting`] tells metrics file, webhook ([`notify`]) and
//! monitor. [`proofs`] is what is known of the backups in storage. `safety_stop` remembers alarms, `journal`, `progress` and [`output`] are what a person sees meanwhile. [`host`] is
//! what surrounds all of it.

mod approve;
pub mod every;
mod execute;
pub mod fifo;
pub mod files;
pub mod host;
pub mod interrupt;
pub(crate) mod journal;
pub mod notify;
pub mod output;
mod progress;
pub mod proofs;
pub mod read;
pub mod reporting;
pub mod run;
mod safety_stop;
pub mod serve;
mod site;
