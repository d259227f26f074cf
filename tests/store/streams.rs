//! The reader of streams on its own.

use crate::built::{Sent, packed, stored};
use fifo_retain::store::stream::{ByteOrder, Code, StreamReader};
use flate2::read::GzDecoder;
use std::fs;
use std::io::Read as _;
use std::path::PathBuf;

pub(crate) const RECORDED_VM: &str = "11111111-0000-4000-8000-000000000001";

pub(crate) fn recorded(file: &str) -> Vec<u8> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    fs::read(root.join("tests/store/recorded").join(RECORDED_VM).join(file)).unwrap()
}

pub(crate) fn recorded_backup(number: usize) -> String {
    format!("aaaaaaaa-0000-4000-8000-{number:012}")
}

fn read(bytes: &[u8], piece: usize) -> StreamReader {
    let mut reader = StreamReader::default();
    bytes.chunks(piece).for_each(|piece| reader.push(piece));
    reader
}

fn code(bytes: &[u8]) -> Option<Code> {
    read(bytes, 1 << 20).finish().map(|damage| damage.code)
}

/// Every kind of stream that can be built, in a few words.
fn kinds() -> Vec<Sent> {
    let mut kinds = Vec::new();
    for is_big_endian in [false, true] {
        for is_new in [false, true] {
            for is_volume in [false, true] {
                kinds.push(Sent { is_big_endian, is_new, is_volume, ..Sent::new("zones/vm@b", 77, 5) });
            }
        }
    }
    kinds
}

#[test]
fn every_kind_of_stream_is_read_to_its_end_in_pieces_of_any_size() {
    for sent in kinds() {
        let bytes = sent.packed();
        for piece in [1, 7, 1000, usize::MAX] {
            let reader = read(&bytes, piece.min(bytes.len()));
            assert_eq!(reader.finish(), None, "{sent:?}");
            let begin = reader.begin().unwrap();
            assert_eq!((&*begin.name, begin.guid, begin.from_guid), ("zones/vm@b", 77, 5));
            assert_eq!(
                (begin.order == ByteOrder::Big, begin.is_volume),
                (sent.is_big_endian, sent.is_volume)
            );
            assert_eq!(reader.stream_bytes(), sent.plain().len() as u64);
        }
    }
}

#[test]
fn real_streams_are_read_and_connect() {
    let mut last = 0;
    for number in 1..=3 {
        let reader = read(&recorded(&recorded_backup(number)), 100);
        assert_eq!(reader.finish(), None, "{number}");
        let begin = reader.begin().unwrap();
        assert_eq!(begin.name, format!("zones/{RECORDED_VM}@{}", recorded_backup(number)));
        assert_eq!(begin.from_guid, last);
        last = begin.guid;
    }
}

/// What goes unnoticed changes nothing: time and system of the packer, or a reference to other bytes that are the same.
#[test]
fn any_flipped_byte_of_an_object_is_noticed() {
    let objects: Vec<Vec<u8>> =
        (1..=3).map(|number| recorded(&recorded_backup(number))).chain([kinds()[3].packed()]).collect();
    for whole in objects {
        let (plain, mut unnoticed) = (unpacked(&whole), 0);
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            if code(&bytes).is_none() {
                assert!(unpacked(&bytes) == plain, "{at} of {}", whole.len());
                unnoticed += 1;
            }
        }
        // Long runs of zeros can refer to one another in many ways.
        assert!(unnoticed * 20 < whole.len(), "{unnoticed} of {}", whole.len());
    }
}

fn unpacked(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut plain).unwrap();
    plain
}

/// What gzip cannot notice, since it was packed so: the checksums of ZFS itself.
#[test]
fn any_flipped_byte_of_a_stream_is_noticed_below_gzip() {
    let kinds = kinds();
    // An old one of little-endian, and a new one of big-endian byte order.
    for sent in [&kinds[0], &kinds[7]] {
        let whole = sent.plain();
        let end = whole.len() - 312;
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            // Senders before 2015 do not cover what follows behind the checksum in the END record.
            let is_uncovered = !sent.is_new && at >= end && (at < end + 8 || at >= end + 48) && at - end >= 4;
            if !is_uncovered {
                assert!(code(&stored(&bytes)).is_some(), "{at} of {}: {sent:?}", whole.len());
            }
        }
    }
}

#[test]
fn each_fault_has_its_code() {
    let sent = Sent::new("zones/vm@b", 77, 0);
    let (plain, whole) = (sent.plain(), sent.packed());
    let with = |bytes: &[u8], more: &[u8]| [bytes, more].concat();
    let text = b"cannot open 'zones/vm@b': dataset does not exist\n";
    let mut package = plain.clone();
    package[16] = 2;
    let mut middle = whole.clone();
    middle.splice(whole.len() / 2..whole.len() / 2, *b"warning: cannot send\n");
    for (what, bytes, expected) in [
        ("empty", Vec::new(), Code::NoStream),
        ("one byte", vec![0x1f], Code::NoStream),
        ("a message", text.to_vec(), Code::NoStream),
        ("a message before it", with(text, &whole), Code::NoStream),
        ("gzip of nothing", packed(&[]), Code::NoStream),
        ("gzip of a message", packed(text), Code::NoStream),
        ("gzip of something longer", packed(&[b'x'; 4000]), Code::NoStream),
        ("a package of streams", packed(&package), Code::NoStream),
        ("a message in the middle", middle, Code::Gzip),
        ("a message behind it", with(&whole, text), Code::Gzip),
        ("twice", with(&whole, &whole), Code::Gzip),
        ("cut", whole[..whole.len() / 2].to_vec(), Code::Truncated),
        ("cut in the gzip's own checksum", whole[..whole.len() - 3].to_vec(), Code::Gzip),
        ("packed without its end", packed(&plain[..plain.len() - 312]), Code::Truncated),
        ("cut within a record", packed(&plain[..400]), Code::Truncated),
        ("two streams in one gzip", packed(&with(&plain, &plain)), Code::Checksum),
    ] {
        assert_eq!(code(&bytes), Some(expected), "{what}");
    }
    let message = read(text, 5).finish().unwrap().message;
    assert!(message.contains("dataset does not exist"), "{message}");
}
