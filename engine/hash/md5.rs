//! MD5 (RFC 1321) of one stream, and of many streams side by side.
//!
//! S3 uses it as an object's ETag; nothing here relies on it for security.

use super::blocks::{BLOCK, Blocks};
use super::simd::{INITIAL, Level, MAX_STREAMS, advance};

/// The MD5 of a stream so far.
#[derive(Clone, Debug)]
pub struct Md5 {
    state: [u32; 4],
    blocks: Blocks,
}

impl Default for Md5 {
    fn default() -> Md5 {
        Md5 { state: INITIAL, blocks: Blocks::default() }
    }
}

impl Md5 {
    /// The MD5 before any bytes.
    pub fn new() -> Md5 {
        Md5::default()
    }

    /// Adds bytes, to this stream alone.
    pub fn update(&mut self, bytes: &[u8]) {
        let blocks = self.begin(bytes);
        self.advance(blocks);
    }

    /// The digest of everything that was added.
    pub fn finish(mut self) -> [u8; 16] {
        let (padding, length) = self.blocks.padding(u64::to_le_bytes);
        self.update(&padding[..length]);
        let mut digest = [0; 16];
        for (bytes, word) in digest.chunks_exact_mut(4).zip(self.state) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        digest
    }

    /// Adds bytes to the blocks and completes the one that an earlier call began. Returns the blocks that are left to
    /// go into the state.
    fn begin<'a>(&mut self, bytes: &'a [u8]) -> &'a [[u8; BLOCK]] {
        let (completed, blocks) = self.blocks.add(bytes);
        if let Some(block) = completed {
            self.advance(&[block]);
        }
        blocks
    }

    fn advance(&mut self, blocks: &[[u8; BLOCK]]) {
        advance(Level::Scalar, std::slice::from_mut(&mut self.state), &[blocks]);
    }
}

/// Adds each input to the stream of the same index. Many streams take the time of one.
///
/// The inputs may have any lengths: the streams advance together by the blocks of the shortest one, and a finished
/// stream leaves its lane to the next in line.
///
/// # Panics
/// If there is not one input per stream.
pub fn update_many(streams: &mut [&mut Md5], inputs: &[&[u8]]) {
    update_many_at(Level::detect(), streams, inputs);
}

fn update_many_at(level: Level, streams: &mut [&mut Md5], inputs: &[&[u8]]) {
    assert_eq!(streams.len(), inputs.len(), "one input per stream");
    // The rest of each input that has whole blocks: (stream, blocks).
    let mut waiting = Vec::with_capacity(streams.len());
    for (index, (stream, input)) in streams.iter_mut().zip(inputs).enumerate() {
        let blocks = stream.begin(input);
        if !blocks.is_empty() {
            waiting.push((index, blocks));
        }
    }
    // The shortest finish first. With equal lengths, the usual case, all lanes finish together.
    waiting.sort_by_key(|(_, blocks)| std::cmp::Reverse(blocks.len()));
    while !waiting.is_empty() {
        let from = waiting.len().saturating_sub(MAX_STREAMS);
        let lanes = &mut waiting[from..];
        let run = lanes.last().map_or(0, |(_, blocks)| blocks.len());
        let mut states = [INITIAL; MAX_STREAMS];
        let mut heads: [&[[u8; BLOCK]]; MAX_STREAMS] = [&[]; MAX_STREAMS];
        for (lane, (stream, blocks)) in lanes.iter_mut().enumerate() {
            states[lane] = streams[*stream].state;
            let (head, rest) = blocks.split_at(run);
            heads[lane] = head;
            *blocks = rest;
        }
        let active = lanes.len();
        advance(level, &mut states[..active], &heads[..active]);
        for ((stream, _), state) in lanes.iter().zip(states) {
            streams[*stream].state = state;
        }
        while waiting.last().is_some_and(|(_, blocks)| blocks.is_empty()) {
            waiting.pop();
        }
        // The lanes that have advanced are shorter than those that waited: restore the order for the next run.
        if from > 0 {
            waiting.sort_by_key(|(_, blocks)| std::cmp::Reverse(blocks.len()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use md5::Digest;
    use proptest::prelude::*;

    fn reference(bytes: &[u8]) -> [u8; 16] {
        md5::Md5::digest(bytes).into()
    }

    #[test]
    fn the_digests_of_rfc_1321_are_right() {
        for (text, digest) in [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("a", "0cc175b9c0f1b6a831c399e269772661"),
            ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
            (
                "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
                "57edf4a22be3c955ac49da2e2107b67a",
            ),
        ] {
            let mut md5 = Md5::new();
            md5.update(text.as_bytes());
            let hex: String = md5.finish().iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, digest, "{text}");
        }
    }

    #[test]
    fn every_length_around_the_padding_is_right() {
        let bytes: Vec<u8> = (0..200).collect();
        for len in 0..bytes.len() {
            let mut md5 = Md5::new();
            md5.update(&bytes[..len]);
            assert_eq!(md5.finish(), reference(&bytes[..len]), "{len} bytes");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn streams_split_at_random_and_advanced_together_agree_with_the_reference(
            rounds in prop::collection::vec(
                prop::collection::vec((0usize..40, 0usize..700), 1..70),
                1..6,
            ),
            seed: u64,
        ) {
            for level in [Level::Scalar, Level::Avx2, Level::Avx512] {
                if level > Level::detect() {
                    continue;
                }
                let mut digests = vec![Md5::new(); 40];
                let mut whole = vec![Vec::new(); 40];
                for round in &rounds {
                    let mut pieces: Vec<Option<Vec<u8>>> = vec![None; 40];
                    for (index, (stream, len)) in round.iter().enumerate() {
                        pieces[*stream] = Some(
                            (0..*len).map(|at| (seed as usize ^ index).wrapping_mul(at + 1) as u8).collect(),
                        );
                    }
                    for (all, piece) in whole.iter_mut().zip(&pieces) {
                        all.extend(piece.iter().flatten());
                    }
                    let inputs: Vec<&[u8]> = pieces.iter().flatten().map(Vec::as_slice).collect();
                    let mut streams: Vec<&mut Md5> = digests
                        .iter_mut()
                        .zip(&pieces)
                        .filter_map(|(digest, piece)| piece.is_some().then_some(digest))
                        .collect();
                    update_many_at(level, &mut streams, &inputs);
                }
                for (digest, bytes) in digests.into_iter().zip(&whole) {
                    prop_assert_eq!(digest.finish(), reference(bytes));
                }
            }
        }
    }
}
