//! What the fuzz targets share: reading a plan from the fuzzer's bytes, cutting an input into pieces, a bound on
//! memory, and slow second implementations that several targets check the product against.
//!
//! A target asserts more than the absence of panics: what was accepted survives a round trip, an input given in
//! pieces gives the same result as given whole, and a plain second implementation agrees.

pub mod checked;
pub mod signing;
pub mod xml;

use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Runs `work` and fails if it ever held more than `limit` bytes beyond what was held before.
pub fn bounded<T>(limit: usize, work: impl FnOnce() -> T) -> T {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let result = work();
    let peak = MEMORY.peak_usage().saturating_sub(before);
    assert!(peak <= limit, "{peak} bytes were held at once, the limit is {limit}");
    result
}

/// The fuzzer's bytes, read from the front. Past their end, numbers are zero and slices empty.
pub struct Source<'a>(pub &'a [u8]);

impl<'a> Source<'a> {
    /// Up to `count` bytes.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (head, tail) = self.0.split_at(count.min(self.0.len()));
        self.0 = tail;
        head
    }

    /// As many bytes as the next byte says.
    pub fn short(&mut self) -> &'a [u8] {
        let count = self.byte().into();
        self.take(count)
    }

    /// The next `N` bytes, with zeros for what is missing.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        let found = self.take(N);
        out[..found.len()].copy_from_slice(found);
        out
    }

    pub fn byte(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    pub fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All remaining bytes.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}

/// Cuts `input` into pieces. Their lengths are the bytes of `cuts` plus one, repeated.
pub fn pieces<'a>(input: &'a [u8], cuts: &[u8]) -> Vec<&'a [u8]> {
    let mut out = Vec::new();
    let mut source = Source(input);
    for cut in if cuts.is_empty() { &[0] } else { cuts }.iter().cycle() {
        if source.is_empty() {
            break;
        }
        out.push(source.take(usize::from(*cut) + 1));
    }
    out
}

/// CRC-32C bit by bit, from its definition.
pub fn crc32c(pieces: &[&[u8]]) -> u32 {
    let mut crc = u32::MAX;
    for byte in pieces.concat() {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

/// Base64 with padding, from its definition.
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for piece in bytes.chunks(3) {
        let bits =
            [0, 1, 2].into_iter().fold(0, |bits, at| bits << 8 | usize::from(*piece.get(at).unwrap_or(&0)));
        for digit in 0..4 {
            let char = char::from(DIGITS[bits >> (18 - 6 * digit) & 63]);
            out.push(if digit <= piece.len() { char } else { '=' });
        }
    }
    out
}

/// Overwrites four bytes with a number.
pub fn put_u32(bytes: &mut [u8], at: usize, number: u32) {
    bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
}

/// Percent-encodes everything but letters, digits, `-_.~` and `keep`.
pub fn percent_encode(bytes: &[u8], keep: &[u8]) -> String {
    let mut out = String::new();
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || keep.contains(&byte) {
            out.push(byte.into());
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Percent-decodes; `None` if a `%` is not followed by two hexadecimal digits.
pub fn percent_decode(text: &[u8], plus_is_space: bool) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut source = Source(text);
    while !source.is_empty() {
        out.push(match source.byte() {
            b'%' => {
                let digits = source.take(2);
                let number = (digits.len() == 2 && digits.iter().all(u8::is_ascii_hexdigit))
                    .then(|| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
                number??
            }
            b'+' if plus_is_space => b' ',
            byte => byte,
        });
    }
    Some(out)
}
