//! The engine against what is known of schemes, and against a plain run.
