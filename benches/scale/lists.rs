//! Lists in files, as the sandbox's synthetic cloud sends them.

use fifo_retain::sandbox::{Clock, Request, Shape, SyntheticSeed, World, handle};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// What the client asks for: only the fields that matter.
pub(crate) const PATH: &str = "/api/3/vms?full-list=true&full-list-fields=uuid,alias,owner,package,dataset,hypervisor,state,\
                        creating,deleting,metadata,config,backups";

/// How much of a list is written at a time.
const PIECE_BYTES: usize = 1 << 20;

/// How large a list is.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) vms: u32,
    pub(crate) backups: u32,
    /// Whether every VM is due a backup.
    pub(crate) due: bool,
}

impl Size {
    pub(crate) fn synthetic(self) -> SyntheticSeed {
        SyntheticSeed { vms: self.vms, backups: self.backups, due: self.due }
    }
}

/// Writes a list to a file, and returns its length in bytes.
pub(crate) fn write(path: &Path, size: Size) -> io::Result<u64> {
    let now_us = Clock::System.now_us();
    let mut world = World::of_synthetic(size.synthetic(), 1, now_us);
    world.shape = Shape::default();
    let token = world.sign_in("admin", now_us);
    let request = Request::new("GET", PATH)
        .with_header("accept", "application/json")
        .with_header("authorization", &format!("Bearer {token}"));
    let reply = handle(&mut world, &request, now_us).ok_or(io::ErrorKind::InvalidData)?;
    assert_eq!(reply.status, 200);
    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(&reply.body)?;
    let mut bytes = reply.body.len();
    let mut piece = Vec::new();
    if let Some(mut rest) = reply.rest {
        while !rest.has_ended() {
            piece.clear();
            rest.write(&world, &mut piece, PIECE_BYTES);
            file.write_all(&piece)?;
            bytes += piece.len();
        }
    }
    file.flush()?;
    Ok(u64::try_from(bytes).unwrap_or(u64::MAX))
}
