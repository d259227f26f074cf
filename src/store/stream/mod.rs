//! What a stored object holds: gzip around a stream of `zfs send`. Read piece by piece, in the memory of one piece, whatever the
//! bytes are.

mod damage;
mod fletcher;
mod gzip;
mod reader;
mod records;

pub use damage::{Code, Damage};
pub use fletcher::ByteOrder;
pub use reader::StreamReader;
pub use records::Begin;
