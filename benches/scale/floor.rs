//! The floor: what it takes to read the list at all. It parses the list from the socket, element by element, into no more
//! than a plan needs, and drops each VM.

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use uuid::Uuid;

const BUFFER_BYTES: usize = 64 << 10;

/// What a reading found.
pub(crate) struct Floor {
    vms: u64,
    backups: u64,
    bytes: u64,
    takes: Duration,
    /// Depends on all that was read, so that nothing of it is optimised away.
    digest: u64,
}

impl fmt::Display for Floor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { vms, backups, bytes, takes, digest } = self;
        write!(out, "{vms} VMs, {backups} backups, {bytes} bytes, {:.3} s ({digest:x})", takes.as_secs_f64())
    }
}

/// Reads the list of a FiFo at a URL of plain HTTP.
pub(crate) fn read(url: &str) -> io::Result<Floor> {
    let started = Instant::now();
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(address)?;
    let path = super::lists::PATH;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\naccept: application/json\r\n\r\n")?;
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    assert!(line.starts_with("HTTP/1.1 200 "), "{line}");
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line)?;
    }
    let mut body = Counted { reader, bytes: 0 };
    let mut json = serde_json::Deserializer::from_reader(&mut body);
    let mut floor = Floor { vms: 0, backups: 0, bytes: 0, takes: Duration::ZERO, digest: 0 };
    json.deserialize_seq(&mut floor)?;
    json.end()?;
    floor.bytes = body.bytes;
    floor.takes = started.elapsed();
    Ok(floor)
}

/// Counts the bytes of a body.
struct Counted {
    reader: BufReader<TcpStream>,
    bytes: u64,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.bytes += u64::try_from(read).unwrap_or(u64::MAX);
        Ok(read)
    }
}

impl<'de> Visitor<'de> for &mut Floor {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a list of VMs")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(vm) = list.next_element::<Vm>()? {
            self.vms += 1;
            self.digest ^= vm.digest();
            for (id, backup) in &vm.backups.0 {
                self.backups += 1;
                self.digest ^= low(*id).rotate_left(5) ^ backup.digest();
            }
        }
        Ok(())
    }
}

fn low(id: Uuid) -> u64 {
    id.as_u64_pair().1
}

#[derive(Deserialize)]
struct Vm {
    uuid: Uuid,
    alias: Text,
    hypervisor: Text,
    state: Text,
    creating: bool,
    deleting: bool,
    backups: Entries<Backup>,
}

impl Vm {
    fn digest(&self) -> u64 {
        let flags = u64::from(self.creating) | u64::from(self.deleting) << 1;
        low(self.uuid) ^ self.alias.0 ^ self.hypervisor.0 ^ self.state.0 ^ flags
    }
}

#[derive(Deserialize)]
struct Backup {
    comment: Text,
    timestamp: u64,
    state: State,
    parent: Option<Uuid>,
    local: bool,
    local_size: u64,
    files: Files,
}

impl Backup {
    fn digest(&self) -> u64 {
        let parent = self.parent.map_or(0, low);
        let state = u64::from(self.state == State::Completed);
        let flags = u64::from(self.local) | state << 1;
        self.comment.0 ^ self.timestamp ^ parent ^ self.local_size ^ self.files.0 ^ flags
    }
}

#[derive(PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Completed,
    Failed,
    Uploading,
    #[serde(other)]
    Other,
}

/// A text as its FNV hash, in place of an interned one.
struct Text(u64);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Hashed;
        impl Visitor<'_> for Hashed {
            type Value = Text;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a text")
            }

            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                let step = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
                Ok(Text(text.bytes().fold(0xcbf2_9ce4_8422_2325, step)))
            }
        }
        deserializer.deserialize_str(Hashed)
    }
}

/// The entries of an object, in a vector.
struct Entries<T>(Vec<(Uuid, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collected<T>(Vec<(Uuid, T)>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Collected<T> {
            type Value = Entries<T>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Entries<T>, A::Error> {
                while let Some(entry) = map.next_entry()? {
                    self.0.push(entry);
                }
                Ok(Entries(self.0))
            }
        }
        deserializer.deserialize_map(Collected(Vec::new()))
    }
}

/// The bytes of all files of a backup; their names and checksums are skipped.
struct Files(u64);

impl<'de> Deserialize<'de> for Files {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct File {
            size: u64,
        }
        struct Sum;
        impl<'de> Visitor<'de> for Sum {
            type Value = Files;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("the files of a backup")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Files, A::Error> {
                let mut bytes = 0;
                while let Some((IgnoredAny, File { size })) = map.next_entry()? {
                    bytes += size;
                }
                Ok(Files(bytes))
            }
        }
        deserializer.deserialize_map(Sum)
    }
}
