//! Runs: one path for `apply`, `reconcile` and `reconcile --every`.
//!
//! [`run`] does one run by an [`order`], whatever happens in it: it opens the [`fifo`], lets [`read`] plan, shows the plan, asks for what needs
//! approval (`approve`), lets `execute` carry it out and judges the result. [`every`] repeats it, and serves the last result
//! (`site` says what, `serve` how). [`report`] tells metrics file, webhook ([`notify`]) and monitor. `safety_stop` remembers
//! alarms, `progress` and [`output`] are what a person sees meanwhile. [`host`] is what surrounds all of it.

mod approve;
pub mod every;
mod execute;
pub mod fifo;
pub mod host;
mod interrupt;
pub mod notify;
pub mod order;
pub mod output;
mod progress;
pub mod read;
pub mod report;
pub mod run;
mod safety_stop;
pub mod serve;
mod service;
mod site;
