use super::damage::{Code, Damage};
use flate2::{Decompress, FlushDecompress, Status};

/// The first bytes of every object that is packed with gzip.
pub(super) const MAGIC: [u8; 2] = [0x1f, 0x8b];

const OUT_BYTES: usize = 64 << 10;
/// The largest window: 32 KiB.
const WINDOW_BITS: u8 = 15;

/// Unpacks one gzip member, which has to be all there is: that is what `gzip -1` makes of a pipe.
pub(super) struct Gzip {
    inflate: Decompress,
    out: Vec<u8>,
    is_ended: bool,
}

impl Default for Gzip {
    fn default() -> Self {
        Self { inflate: Decompress::new_gzip(WINDOW_BITS), out: vec![0; OUT_BYTES], is_ended: false }
    }
}

impl Gzip {
    pub(super) fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// Unpacks a piece and hands over what comes out. Its own checksum and length are compared at its end.
    pub(super) fn push(
        &mut self,
        mut packed: &[u8],
        mut each: impl FnMut(&[u8]) -> Result<(), Damage>,
    ) -> Result<(), Damage> {
        loop {
            if self.is_ended {
                let left = packed.len();
                let behind =
                    || Damage::new(Code::Gzip, format!("{left} bytes or more follow behind its gzip"));
                return if left == 0 { Ok(()) } else { Err(behind()) };
            }
            let (read, made) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self.inflate.decompress(packed, &mut self.out, FlushDecompress::None);
            let made = usize::try_from(self.inflate.total_out() - made).unwrap_or_default();
            each(self.out.get(..made).unwrap_or_default())?;
            let status = status.map_err(|error| {
                let why = error.message().unwrap_or("its checksum does not hold");
                Damage::new(
                    Code::Gzip,
                    format!("its gzip is damaged after {} bytes: {why}", self.inflate.total_in()),
                )
            })?;
            let read = usize::try_from(self.inflate.total_in() - read).unwrap_or_default();
            packed = packed.get(read..).unwrap_or_default();
            self.is_ended = status == Status::StreamEnd;
            // A full buffer may not be all that comes out of what was read.
            let is_stuck = read == 0 && made == 0;
            if !self.is_ended && (packed.is_empty() && made < self.out.len() || is_stuck) {
                return Ok(());
            }
        }
    }
}
