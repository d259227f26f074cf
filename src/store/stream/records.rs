//! The records of `zfs send`: `dmu_replay_record_t`, from illumos of 2010 to OpenZFS 2.3.

use super::damage::{Code, Damage};
use super::fletcher::{ByteOrder, Fletcher4};

/// Every record has this length; a payload may follow.
const RECORD_BYTES: usize = 312;
/// Where a record of newer senders has the checksum of all before it. BEGIN has its name there.
const OWN_SUM: usize = 280;
const MAGIC: u64 = 0x0002_f5ba_cbac;
/// No block is larger, nor the parts of one that is packed.
const PAYLOAD_BYTES_MAX: u64 = (16 << 20) + 4096;
const NAME_BYTES: usize = 256;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begin {
    pub order: ByteOrder,
    /// The snapshot that is sent: `zones/<vm>@<backup>`.
    pub name: String,
    /// The snapshot's own number, which no other has.
    pub guid: u64,
    /// The snapshot that it starts from; 0 for a full stream.
    pub from_guid: u64,
    /// Whether it is of a volume, the disk of a KVM guest, and not of a file system.
    pub is_volume: bool,
}

pub(super) struct Records {
    order: ByteOrder,
    record: [u8; RECORD_BYTES],
    filled: usize,
    /// What is still to come of a payload.
    payload_left: u64,
    sum: Fletcher4,
    begin: Option<Begin>,
    is_ended: bool,
    size_bytes: u64,
}

impl Default for Records {
    fn default() -> Self {
        Self {
            order: ByteOrder::Little,
            record: [0; RECORD_BYTES],
            filled: 0,
            payload_left: 0,
            sum: Fletcher4::default(),
            begin: None,
            is_ended: false,
            size_bytes: 0,
        }
    }
}

impl Records {
    pub(super) fn begin(&self) -> Option<&Begin> {
        self.begin.as_ref()
    }

    pub(super) fn is_ended(&self) -> bool {
        self.is_ended
    }

    pub(super) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<(), Damage> {
        while !bytes.is_empty() {
            if self.is_ended {
                return Err(self.wrong("something follows behind the END record"));
            }
            let wanted = match self.payload_left {
                0 => RECORD_BYTES - self.filled,
                left => usize::try_from(left).unwrap_or(usize::MAX),
            };
            let (piece, rest) = bytes.split_at(wanted.min(bytes.len()));
            bytes = rest;
            self.size_bytes += piece.len() as u64;
            if self.payload_left > 0 {
                self.payload_left -= piece.len() as u64;
                self.sum.update(piece, self.order);
                continue;
            }
            self.record[self.filled..self.filled + piece.len()].copy_from_slice(piece);
            self.filled += piece.len();
            if self.filled == RECORD_BYTES {
                self.filled = 0;
                self.record()?;
            }
        }
        Ok(())
    }

    fn wrong(&self, what: &str) -> Damage {
        Damage::new(Code::Checksum, format!("{what}, at byte {} of the stream", self.size_bytes))
    }

    fn record(&mut self) -> Result<(), Damage> {
        if self.begin.is_none() {
            self.read_begin()?;
        } else {
            self.check()?;
        }
        let payload = self.payload_bytes()?;
        if payload > PAYLOAD_BYTES_MAX {
            return Err(self.wrong("a record is too long"));
        }
        self.payload_left = payload;
        let record = self.record;
        self.sum.update(&record, self.order);
        Ok(())
    }

    fn read_begin(&mut self) -> Result<(), Damage> {
        self.order = match (u64::from_le_bytes(self.bytes(8)), u64::from_be_bytes(self.bytes(8))) {
            (MAGIC, _) => ByteOrder::Little,
            (_, MAGIC) => ByteOrder::Big,
            _ => return Err(Damage::new(Code::NoStream, "it does not begin like a stream of zfs send")),
        };
        if self.u32(0) != 0 {
            return Err(Damage::new(Code::NoStream, "its first record is no BEGIN"));
        }
        if self.u64(16) & 3 != 1 {
            let what = "it holds a package of streams (zfs send -R), which FiFo does not make";
            return Err(Damage::new(Code::NoStream, what));
        }
        let name = &self.record[56..56 + NAME_BYTES];
        let end = name.iter().position(|&byte| byte == 0).unwrap_or(NAME_BYTES);
        self.begin = Some(Begin {
            order: self.order,
            name: String::from_utf8_lossy(&name[..end]).into_owned(),
            guid: self.u64(40),
            from_guid: self.u64(48),
            is_volume: self.u32(32) == 3,
        });
        Ok(())
    }

    /// Compares the checksums of a record with those of all that came before it.
    fn check(&mut self) -> Result<(), Damage> {
        let sums_at = |at| [0, 8, 16, 24].map(|offset| self.u64(at + offset));
        let mut own = self.sum;
        own.update(&self.record[..OWN_SUM], self.order);
        // Senders before 2015 have none in each record.
        let recorded = sums_at(OWN_SUM);
        if recorded != [0; 4] && recorded != own.sums() {
            return Err(self.wrong("a record's checksum does not hold"));
        }
        if self.kind() == Kind::End {
            if sums_at(8) != self.sum.sums() {
                return Err(self.wrong("the stream's checksum does not hold"));
            }
            if Some(self.u64(40)) != self.begin.as_ref().map(|begin| begin.guid) {
                return Err(self.wrong("the END record is of another snapshot"));
            }
            self.is_ended = true;
        }
        Ok(())
    }

    fn payload_bytes(&self) -> Result<u64, Damage> {
        let rounded = |bytes: u32| u64::from(bytes).next_multiple_of(8);
        Ok(match self.kind() {
            Kind::Begin if self.size_bytes == RECORD_BYTES as u64 => u64::from(self.u32(4)),
            Kind::Begin => return Err(self.wrong("there is a second BEGIN record")),
            Kind::Object if self.u32(36) > 0 => u64::from(self.u32(36)),
            Kind::Object => rounded(self.u32(28)),
            // Packed as it is on disk, or not.
            Kind::Write if self.record[50] > 0 => self.u64(96),
            Kind::Write => self.u64(32),
            Kind::Spill if self.u64(40) > 0 => self.u64(40),
            Kind::Spill => self.u64(16),
            Kind::WriteEmbedded => rounded(self.u32(52)),
            Kind::Bare | Kind::End => 0,
            Kind::Unknown => return Err(self.wrong("there is a record of an unknown type")),
        })
    }

    fn kind(&self) -> Kind {
        match self.u32(0) {
            0 => Kind::Begin,
            1 => Kind::Object,
            3 => Kind::Write,
            5 => Kind::End,
            7 => Kind::Spill,
            8 => Kind::WriteEmbedded,
            // FREEOBJECTS, FREE, WRITE_BYREF, OBJECT_RANGE, REDACT.
            2 | 4 | 6 | 9 | 10 => Kind::Bare,
            _ => Kind::Unknown,
        }
    }

    fn u32(&self, at: usize) -> u32 {
        match self.order {
            ByteOrder::Little => u32::from_le_bytes(self.bytes(at)),
            ByteOrder::Big => u32::from_be_bytes(self.bytes(at)),
        }
    }

    fn u64(&self, at: usize) -> u64 {
        match self.order {
            ByteOrder::Little => u64::from_le_bytes(self.bytes(at)),
            ByteOrder::Big => u64::from_be_bytes(self.bytes(at)),
        }
    }

    fn bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        std::array::from_fn(|offset| self.record[at + offset])
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Begin,
    Object,
    Write,
    Spill,
    WriteEmbedded,
    /// Nothing follows it.
    Bare,
    End,
    Unknown,
}
