//! The storage that FiFo exports to, read and never written: [`Store`] has two calls, and neither can change anything.
//!
//! [`Folder`] is a mirror or a mounted store (`file://`), [`S3`] speaks to LeoFS and its like (`s3://`). [`stream`] reads what an
//! object holds: gzip around the records of `zfs send`.

mod folder;
mod location;
mod object;
mod s3;
mod sign;
pub mod stream;

pub use folder::Folder;
pub use location::{BadLocation, Location};
pub use object::{Body, Object, Result, Store, StoreError};
pub use s3::{S3, S3Settings};
pub use sign::AccessKey;
