//! Cuts a stream into the blocks of 64 bytes that MD5 and SHA-256 work on.

/// Size of a block, bytes.
pub(super) const BLOCK: usize = 64;

/// The bytes of a stream that do not fill a block yet.
#[derive(Clone, Debug)]
pub(super) struct Blocks {
    /// Number of bytes seen. Those past the last multiple of 64 wait in `rest`.
    seen: u64,
    rest: [u8; BLOCK],
}

impl Default for Blocks {
    fn default() -> Blocks {
        Blocks { seen: 0, rest: [0; BLOCK] }
    }
}

impl Blocks {
    /// Adds bytes. Returns the block that they complete, if an earlier call began one, and the whole blocks after it.
    pub(super) fn add<'a>(&mut self, mut bytes: &'a [u8]) -> (Option<[u8; BLOCK]>, &'a [[u8; BLOCK]]) {
        let fill = (self.seen % BLOCK as u64) as usize;
        self.seen += bytes.len() as u64;
        let mut completed = None;
        if fill > 0 {
            let (head, others) = bytes.split_at(bytes.len().min(BLOCK - fill));
            self.rest[fill..fill + head.len()].copy_from_slice(head);
            if fill + head.len() < BLOCK {
                return (None, &[]);
            }
            completed = Some(self.rest);
            bytes = others;
        }
        let (blocks, tail) = bytes.as_chunks();
        self.rest[..tail.len()].copy_from_slice(tail);
        (completed, blocks)
    }

    /// The bytes that end the stream, and how many they are: a one bit, zeros, and the stream's length in bits as
    /// `encode` encodes it.
    pub(super) fn padding(&self, encode: impl Fn(u64) -> [u8; 8]) -> ([u8; 2 * BLOCK], usize) {
        let fill = (self.seen % BLOCK as u64) as usize;
        let length_at = if fill < BLOCK - 8 { BLOCK - 8 - fill } else { 2 * BLOCK - 8 - fill };
        let mut padding = [0; 2 * BLOCK];
        padding[0] = 0x80;
        padding[length_at..length_at + 8].copy_from_slice(&encode(self.seen.wrapping_mul(8)));
        (padding, length_at + 8)
    }
}
