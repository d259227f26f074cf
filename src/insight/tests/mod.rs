//! Tests of what is reported about plans and inventories.

mod compare;
mod forecast;
mod overview;
mod show;
mod status;
