//! Builds streams as `zfs send` makes them: what zfs-fuse cannot make, of either byte order.

use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write as _;

/// A stream to build.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) name: String,
    pub(crate) guid: u64,
    pub(crate) from_guid: u64,
    pub(crate) is_big_endian: bool,
    pub(crate) is_volume: bool,
    /// Whether each record has a checksum of its own, as senders have them since 2015, and newer kinds of records come.
    pub(crate) is_new: bool,
    /// The length of a block of data.
    pub(crate) block: usize,
}

impl Sent {
    pub(crate) fn new(name: &str, guid: u64, from_guid: u64) -> Self {
        let name = name.to_owned();
        Self { name, guid, from_guid, is_big_endian: false, is_volume: false, is_new: true, block: 512 }
    }

    pub(crate) fn plain(&self) -> Vec<u8> {
        let mut out = Out { is_big_endian: self.is_big_endian, bytes: Vec::new(), sum: [0; 4] };
        let kind = if self.is_volume { 3 } else { 2 };
        let mut begin = Record::of(0).u64(8, 0x2_f5ba_cbac).u64(16, 1).u64(24, 1_795_383_403).u32(32, kind);
        begin = begin.u64(40, self.guid).u64(48, self.from_guid).text(56, &self.name);
        out.record(begin, &[], false);
        let mut records = vec![
            (Record::of(2).u64(8, 0).u64(16, 1).u64(24, self.guid), Vec::new()),
            (Record::of(1).u64(8, 1).u32(16, 19).u32(24, 512).u32(28, 44).u64(40, self.guid), vec![7; 48]),
            (Record::of(3).u64(8, 1).u64(32, self.block as u64).u64(40, self.guid), noise(self.block)),
            (Record::of(4).u64(8, 1).u64(16, 512).u64(24, u64::MAX).u64(32, self.guid), Vec::new()),
            (Record::of(6).u64(8, 1).u64(24, 512).u64(32, self.guid), Vec::new()),
            (Record::of(7).u64(8, 1).u64(16, 512).u64(24, self.guid), vec![9; 512]),
        ];
        if self.is_new {
            records.extend([
                // Packed as it is on disk: 128 KiB that take 1 KiB.
                (Record::of(3).u64(32, 1 << 17).u64(40, self.guid).byte(50, 15).u64(96, 1024), noise(1024)),
                // The bonus of an encrypted dataset.
                (Record::of(1).u32(28, 44).u32(36, 56).u64(40, self.guid), vec![5; 56]),
                (Record::of(7).u64(16, 4096).byte(33, 15).u64(40, 512), vec![3; 512]),
                (Record::of(8).u64(24, 512).u64(32, self.guid).u32(48, 512).u32(52, 21), vec![1; 24]),
                (Record::of(9).u64(8, 32).u64(16, 32).u64(24, self.guid), Vec::new()),
                (Record::of(10).u64(8, 1).u64(16, 512), Vec::new()),
            ]);
        }
        for (record, payload) in records {
            out.record(record, &payload, self.is_new);
        }
        let mut end = Record::of(5).u64(40, self.guid);
        for (place, sum) in out.sum.into_iter().enumerate() {
            end = end.u64(8 + place * 8, sum);
        }
        out.record(end, &[], self.is_new);
        out.bytes
    }

    pub(crate) fn packed(&self) -> Vec<u8> {
        packed(&self.plain())
    }
}

pub(crate) fn packed(plain: &[u8]) -> Vec<u8> {
    gzip(plain, Compression::fast())
}

/// The same without packing, which is quick.
pub(crate) fn stored(plain: &[u8]) -> Vec<u8> {
    gzip(plain, Compression::none())
}

fn gzip(plain: &[u8], compression: Compression) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), compression);
    gzip.write_all(plain).unwrap();
    gzip.finish().unwrap()
}

/// Bytes that do not pack well.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    (0..len).map(|_| random.u8(..)).collect()
}

/// A record, by fields: where they are, and what is in them.
struct Record(Vec<(usize, Field)>);

enum Field {
    U8(u8),
    U32(u32),
    U64(u64),
    Text(String),
}

impl Record {
    fn of(kind: u32) -> Self {
        Self(vec![(0, Field::U32(kind))])
    }

    fn with(mut self, at: usize, field: Field) -> Self {
        self.0.push((at, field));
        self
    }

    fn byte(self, at: usize, value: u8) -> Self {
        self.with(at, Field::U8(value))
    }

    fn u32(self, at: usize, value: u32) -> Self {
        self.with(at, Field::U32(value))
    }

    fn u64(self, at: usize, value: u64) -> Self {
        self.with(at, Field::U64(value))
    }

    fn text(self, at: usize, value: &str) -> Self {
        self.with(at, Field::Text(value.to_owned()))
    }
}

struct Out {
    is_big_endian: bool,
    bytes: Vec<u8>,
    sum: [u64; 4],
}

impl Out {
    fn record(&mut self, record: Record, payload: &[u8], has_sum: bool) {
        let mut bytes = vec![0; 312];
        for (at, field) in record.0 {
            let value = match (field, self.is_big_endian) {
                (Field::U8(value), _) => vec![value],
                (Field::U32(value), true) => value.to_be_bytes().to_vec(),
                (Field::U32(value), false) => value.to_le_bytes().to_vec(),
                (Field::U64(value), true) => value.to_be_bytes().to_vec(),
                (Field::U64(value), false) => value.to_le_bytes().to_vec(),
                (Field::Text(value), _) => value.into_bytes(),
            };
            bytes[at..at + value.len()].copy_from_slice(&value);
        }
        if has_sum {
            self.add(&bytes[..280]);
            for (place, sum) in self.sum.into_iter().enumerate() {
                let sum = if self.is_big_endian { sum.to_be_bytes() } else { sum.to_le_bytes() };
                bytes[280 + place * 8..288 + place * 8].copy_from_slice(&sum);
            }
            self.add(&bytes[280..]);
        } else {
            self.add(&bytes);
        }
        self.add(payload);
        self.bytes.extend(bytes);
        self.bytes.extend(payload);
    }

    fn add(&mut self, bytes: &[u8]) {
        for word in bytes.chunks(4) {
            let word: [u8; 4] = word.try_into().unwrap();
            let mut next = u64::from(if self.is_big_endian {
                u32::from_be_bytes(word)
            } else {
                u32::from_le_bytes(word)
            });
            for sum in &mut self.sum {
                *sum = sum.wrapping_add(next);
                next = *sum;
            }
        }
    }
}
