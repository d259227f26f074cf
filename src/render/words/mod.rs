//! What plans, runs and reports hold as data, in words.

mod steps;
