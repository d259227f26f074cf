/// In which order the sender writes the bytes of a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ByteOrder {
    #[default]
    Little,
    Big,
}

/// The Fletcher-4 checksum of ZFS, over words of 32 bits in the sender's byte order.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fletcher4 {
    sums: [u64; 4],
    /// The bytes of a word that is not whole yet.
    part: [u8; 4],
    filled: usize,
}

impl Fletcher4 {
    /// Returns the sums over all whole words.
    pub(super) fn sums(&self) -> [u64; 4] {
        self.sums
    }

    pub(super) fn update(&mut self, mut bytes: &[u8], order: ByteOrder) {
        while self.filled > 0 || bytes.len() < 4 {
            let Some((&byte, rest)) = bytes.split_first() else { return };
            bytes = rest;
            self.part[self.filled] = byte;
            self.filled += 1;
            if self.filled == 4 {
                self.filled = 0;
                let part = self.part;
                self.words(&part, order);
            }
        }
        let (words, rest) = bytes.split_at(bytes.len() / 4 * 4);
        self.words(words, order);
        self.part[..rest.len()].copy_from_slice(rest);
        self.filled = rest.len();
    }

    fn words(&mut self, words: &[u8], order: ByteOrder) {
        match order {
            ByteOrder::Little => self.add(words, u32::from_le_bytes),
            ByteOrder::Big => self.add(words, u32::from_be_bytes),
        }
    }

    fn add(&mut self, words: &[u8], word: impl Fn([u8; 4]) -> u32) {
        let [mut a, mut b, mut c, mut d] = self.sums;
        let (words, _) = words.as_chunks::<4>();
        for &bytes in words {
            a = a.wrapping_add(u64::from(word(bytes)));
            b = b.wrapping_add(a);
            c = c.wrapping_add(b);
            d = d.wrapping_add(c);
        }
        self.sums = [a, b, c, d];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_make_no_difference_and_the_byte_order_does() {
        let bytes: Vec<u8> = (0..=255).collect();
        let sums = |pieces: usize, order| {
            let mut sum = Fletcher4::default();
            bytes.chunks(pieces).for_each(|piece| sum.update(piece, order));
            sum.sums()
        };
        let whole = sums(256, ByteOrder::Little);
        assert!([1, 3, 5, 7, 31].iter().all(|&pieces| sums(pieces, ByteOrder::Little) == whole));
        assert_ne!(sums(256, ByteOrder::Big), whole);
        let mut two = Fletcher4::default();
        two.update(&[1, 0, 0, 0, 2, 0, 0, 0], ByteOrder::Little);
        assert_eq!(two.sums(), [3, 4, 5, 6]);
    }
}
