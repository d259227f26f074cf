//! Plans and outcomes for people and programs.
