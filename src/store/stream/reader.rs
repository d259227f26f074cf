use super::damage::{Code, Damage};
use super::gzip::{self, Gzip};
use super::records::{Begin, Records};

/// How much of an object's beginning is kept to show what it is.
const SHOWN_BYTES: usize = 160;

/// Reads an object from its first byte on.
#[derive(Default)]
pub struct StreamReader {
    gzip: Gzip,
    records: Records,
    size_bytes: u64,
    beginning: Vec<u8>,
    damage: Option<Damage>,
}

impl StreamReader {
    /// Reads on. After damage nothing more is read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.push_through(bytes, |_| {});
    }

    /// Reads on, and hands over what is unpacked, once its records are known to make sense.
    pub fn push_through(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8])) {
        self.size_bytes += bytes.len() as u64;
        let room = SHOWN_BYTES.saturating_sub(self.beginning.len());
        self.beginning.extend_from_slice(&bytes[..room.min(bytes.len())]);
        let starts_wrong = self.beginning.iter().zip(gzip::MAGIC).any(|(&byte, magic)| byte != magic);
        if self.damage.is_none() && !starts_wrong {
            let Self { gzip, records, .. } = self;
            self.damage = gzip.push(bytes, |plain| records.push(plain).map(|()| each(plain))).err();
        }
    }

    /// Returns the first record, once it has come.
    pub fn begin(&self) -> Option<&Begin> {
        self.records.begin()
    }

    /// Says whether nothing that is still to come can change the result.
    pub fn is_decided(&self) -> bool {
        self.damage.is_some() || !self.beginning.starts_with(&gzip::MAGIC) && self.size_bytes > 1
    }

    /// Returns what is wrong with the part that was read.
    pub fn damage(&self) -> Option<Damage> {
        if self.beginning.iter().zip(gzip::MAGIC).any(|(&byte, magic)| byte != magic) {
            let shown = String::from_utf8_lossy(&self.beginning);
            let shown = shown.trim();
            return Some(Damage::new(Code::NoStream, format!("it is not gzip, but begins with {shown:?}")));
        }
        self.damage.clone()
    }

    /// Returns what is wrong with the object, where all of it was read.
    pub fn finish(&self) -> Option<Damage> {
        let damage = |code, message: &str| Some(Damage::new(code, message));
        if self.size_bytes == 0 {
            return damage(Code::NoStream, "it is empty");
        }
        if let Some(found) = self.damage() {
            return Some(found);
        }
        match (self.begin().is_some(), self.records.is_ended(), self.gzip.is_ended()) {
            (true, true, true) => None,
            (true, true, false) => damage(Code::Gzip, "its gzip has no end"),
            (true, false, _) => damage(Code::Truncated, "the stream has no END record: it was cut short"),
            (false, _, true) => damage(Code::NoStream, "its gzip holds no stream of zfs send"),
            (false, _, false) => damage(Code::NoStream, "it ends before a stream of zfs send begins"),
        }
    }

    /// Returns how many bytes of the stream have been unpacked.
    pub fn stream_bytes(&self) -> u64 {
        self.records.size_bytes()
    }
}
