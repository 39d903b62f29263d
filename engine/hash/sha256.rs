//! SHA-256 (FIPS 180-4) of one stream, and of several streams two at a time.
//!
//! Each SHA-NI instruction waits for the one before. Two streams whose rounds alternate hide most of that latency.

#![allow(unsafe_code)]

use sha2::block_api::compress256;

use super::blocks::{BLOCK, Blocks};

const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// The SHA-256 of a stream so far.
#[derive(Clone, Debug)]
pub struct Sha256 {
    state: [u32; 8],
    blocks: Blocks,
}

impl Default for Sha256 {
    fn default() -> Sha256 {
        Sha256 { state: INITIAL, blocks: Blocks::default() }
    }
}

impl Sha256 {
    /// The SHA-256 before any bytes.
    pub fn new() -> Sha256 {
        Sha256::default()
    }

    /// Adds bytes, to this stream alone.
    pub fn update(&mut self, bytes: &[u8]) {
        let blocks = self.begin(bytes);
        compress256(&mut self.state, blocks);
    }

    /// The digest of everything that was added.
    pub fn finish(mut self) -> [u8; 32] {
        let (padding, length) = self.blocks.padding(u64::to_be_bytes);
        self.update(&padding[..length]);
        let mut digest = [0; 32];
        for (bytes, word) in digest.chunks_exact_mut(4).zip(self.state) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        digest
    }

    /// Adds bytes to the blocks and completes the one that an earlier call began. Returns the blocks that are left to
    /// go into the state.
    fn begin<'a>(&mut self, bytes: &'a [u8]) -> &'a [[u8; BLOCK]] {
        let (completed, blocks) = self.blocks.add(bytes);
        if let Some(block) = completed {
            compress256(&mut self.state, &[block]);
        }
        blocks
    }
}

/// Adds each input to the stream of the same index. Two streams advance together, the longest inputs first.
///
/// # Panics
/// If there is not one input per stream.
pub fn update_many(streams: &mut [&mut Sha256], inputs: &[&[u8]]) {
    assert_eq!(streams.len(), inputs.len(), "one input per stream");
    let mut waiting = Vec::with_capacity(streams.len());
    for (index, (stream, input)) in streams.iter_mut().zip(inputs).enumerate() {
        let blocks = stream.begin(input);
        if !blocks.is_empty() {
            waiting.push((index, blocks));
        }
    }
    waiting.sort_by_key(|(_, blocks)| std::cmp::Reverse(blocks.len()));
    for pair in waiting.chunks(2) {
        let &[(long, long_blocks), (short, short_blocks)] = pair else {
            compress256(&mut streams[pair[0].0].state, pair[0].1);
            continue;
        };
        let (common, rest) = long_blocks.split_at(short_blocks.len());
        let mut states = [streams[long].state, streams[short].state];
        compress_pair(&mut states, [common, short_blocks]);
        [streams[long].state, streams[short].state] = states;
        compress256(&mut streams[long].state, rest);
    }
}

fn compress_pair(states: &mut [[u32; 8]; 2], inputs: [&[[u8; BLOCK]]; 2]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("sha")
        && is_x86_feature_detected!("ssse3")
        && is_x86_feature_detected!("sse4.1")
    {
        // SAFETY: the CPU has the instructions.
        unsafe { ni::compress(states, inputs) };
        return;
    }
    for (state, blocks) in states.iter_mut().zip(inputs) {
        compress256(state, blocks);
    }
}

#[cfg(target_arch = "x86_64")]
mod ni {
    use super::BLOCK;
    use std::arch::x86_64::*;

    /// FIPS 180-4, section 4.2.2.
    #[rustfmt::skip]
    const K: [u32; 64] = [
        0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
        0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
        0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
        0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
        0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
        0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
        0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
        0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
    ];

    /// Adds the blocks of each of `I` inputs, which have equally many, to their states.
    ///
    /// # Safety
    /// The CPU has SHA-NI, SSSE3 and SSE4.1.
    #[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
    pub(super) unsafe fn compress<const I: usize>(states: &mut [[u32; 8]; I], inputs: [&[[u8; BLOCK]]; I]) {
        let blocks = inputs[0].len();
        assert!(inputs.iter().all(|input| input.len() == blocks), "inputs of one length");
        let big_endian = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
        let mut abef = [_mm_setzero_si128(); I];
        let mut cdgh = abef;
        for i in 0..I {
            let [a, b, c, d, e, f, g, h] = states[i].map(u32::cast_signed);
            abef[i] = _mm_set_epi32(a, b, e, f);
            cdgh[i] = _mm_set_epi32(c, d, g, h);
        }
        for at in 0..blocks {
            let before = (abef, cdgh);
            let block = inputs.map(|input| &input[at]);
            let mut w = [[_mm_setzero_si128(); I]; 4];
            for i in 0..I {
                for (n, bytes) in block[i].as_chunks::<16>().0.iter().enumerate() {
                    // SAFETY: `bytes` are 16 readable bytes; the load needs no alignment.
                    w[n][i] = _mm_shuffle_epi8(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }, big_endian);
                }
            }
            for n in 0..16 {
                // SAFETY: four constants from 4n on, n < 16; the load needs no alignment.
                let k = unsafe { _mm_loadu_si128(K.as_ptr().add(4 * n).cast()) };
                let [w0, w1, w2, w3] = w;
                for i in 0..I {
                    let sum = _mm_add_epi32(w0[i], k);
                    cdgh[i] = _mm_sha256rnds2_epu32(cdgh[i], abef[i], sum);
                    abef[i] = _mm_sha256rnds2_epu32(abef[i], cdgh[i], _mm_shuffle_epi32::<0x0e>(sum));
                }
                let mut next = w0;
                for i in 0..I {
                    let sum =
                        _mm_add_epi32(_mm_sha256msg1_epu32(w0[i], w1[i]), _mm_alignr_epi8::<4>(w3[i], w2[i]));
                    next[i] = _mm_sha256msg2_epu32(sum, w3[i]);
                }
                w = [w1, w2, w3, next];
            }
            for i in 0..I {
                abef[i] = _mm_add_epi32(abef[i], before.0[i]);
                cdgh[i] = _mm_add_epi32(cdgh[i], before.1[i]);
            }
        }
        for i in 0..I {
            let mut words = [[0u32; 4]; 2];
            // SAFETY: each target has 16 writable bytes; the stores need no alignment.
            unsafe {
                _mm_storeu_si128(words[0].as_mut_ptr().cast(), abef[i]);
                _mm_storeu_si128(words[1].as_mut_ptr().cast(), cdgh[i]);
            }
            let [[f, e, b, a], [h, g, d, c]] = words;
            states[i] = [a, b, c, d, e, f, g, h];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sha2::Digest as _;

    #[test]
    fn the_digests_of_fips_180_are_right() {
        let million = "a".repeat(1_000_000);
        for (text, digest) in [
            ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
            ),
            (&million, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
        ] {
            let mut pair = [Sha256::new(), Sha256::new()];
            let [one, two] = &mut pair;
            update_many(&mut [one, two], &[text.as_bytes(); 2]);
            for sha256 in pair {
                let hex: String = sha256.finish().iter().map(|byte| format!("{byte:02x}")).collect();
                assert_eq!(hex, digest);
            }
        }
    }

    proptest! {
        #[test]
        fn streams_split_at_random_and_advanced_together_agree_with_the_reference(
            rounds in (1usize..=6).prop_flat_map(|count| prop::collection::vec(
                prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), count), 1..5,
            )),
        ) {
            let mut digests = vec![Sha256::new(); rounds[0].len()];
            let mut references = vec![sha2::Sha256::new(); rounds[0].len()];
            for round in &rounds {
                let inputs: Vec<&[u8]> = round.iter().map(Vec::as_slice).collect();
                update_many(&mut digests.iter_mut().collect::<Vec<_>>(), &inputs);
                for (reference, input) in references.iter_mut().zip(inputs) {
                    reference.update(input);
                }
            }
            for (digest, reference) in digests.into_iter().zip(references) {
                prop_assert_eq!(digest.finish(), <[u8; 32]>::from(reference.finalize()));
            }
        }
    }
}
