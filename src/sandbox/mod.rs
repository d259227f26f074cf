//! A simulated FiFo.
