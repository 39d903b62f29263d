//! MD5's compression of many streams at once: the streams lie side by side in the lanes of a vector.
//!
//! Each step of a stream depends on the one before, so a core computes several streams in the time of one. The same
//! code runs over plain words (one to four streams interleaved), AVX2 and AVX-512 (one or two vectors interleaved). The
//! CPU and the number of streams decide at run time which is used. Measured (`benches/hash.rs`), GB/s: plain words
//! 0.73, 1.5, 2.1, 2.2; AVX2 over 8 and 16 streams 2.9 and 5.4; AVX-512 over 8, 16, 32 streams 3.2, 6.4, 13. Four plain
//! streams interleaved beat vectors that are half empty.

#![allow(unsafe_code)]

mod lanes;

use lanes::Lanes;
#[cfg(target_arch = "x86_64")]
use lanes::x86::{Avx2, Avx512};

/// Maximum number of streams that one call of [`advance`] takes.
pub(super) const MAX_STREAMS: usize = 32;

/// The state of a stream before any bytes.
pub(super) const INITIAL: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// RFC 1321's table T: the integer part of 2^32 |sin n|, n from 1.
#[rustfmt::skip]
const T: [u32; 64] = [
    0xd76a_a478, 0xe8c7_b756, 0x2420_70db, 0xc1bd_ceee, 0xf57c_0faf, 0x4787_c62a,
    0xa830_4613, 0xfd46_9501, 0x6980_98d8, 0x8b44_f7af, 0xffff_5bb1, 0x895c_d7be,
    0x6b90_1122, 0xfd98_7193, 0xa679_438e, 0x49b4_0821, 0xf61e_2562, 0xc040_b340,
    0x265e_5a51, 0xe9b6_c7aa, 0xd62f_105d, 0x0244_1453, 0xd8a1_e681, 0xe7d3_fbc8,
    0x21e1_cde6, 0xc337_07d6, 0xf4d5_0d87, 0x455a_14ed, 0xa9e3_e905, 0xfcef_a3f8,
    0x676f_02d9, 0x8d2a_4c8a, 0xfffa_3942, 0x8771_f681, 0x6d9d_6122, 0xfde5_380c,
    0xa4be_ea44, 0x4bde_cfa9, 0xf6bb_4b60, 0xbebf_bc70, 0x289b_7ec6, 0xeaa1_27fa,
    0xd4ef_3085, 0x0488_1d05, 0xd9d4_d039, 0xe6db_99e5, 0x1fa2_7cf8, 0xc4ac_5665,
    0xf429_2244, 0x432a_ff97, 0xab94_23a7, 0xfc93_a039, 0x655b_59c3, 0x8f0c_cc92,
    0xffef_f47d, 0x8584_5dd1, 0x6fa8_7e4f, 0xfe2c_e6e0, 0xa301_4314, 0x4e08_11a1,
    0xf753_7e82, 0xbd3a_f235, 0x2ad7_d2bb, 0xeb86_d391,
];

/// The instructions that the CPU offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Plain words.
    Scalar,
    /// Eight lanes.
    Avx2,
    /// Sixteen lanes.
    Avx512,
}

impl Level {
    /// The best level of this CPU.
    pub(super) fn detect() -> Level {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                return Level::Avx512;
            }
            if is_x86_feature_detected!("avx2") {
                return Level::Avx2;
            }
        }
        Level::Scalar
    }
}

macro_rules! step {
    ($op:ident, $n:expr, $multiply:literal, $plus:literal, $shift:literal, $w:ident, $a:ident, $b:ident, $c:ident, $d:ident) => {{
        const WORD: usize = ($n * $multiply + $plus) % 16;
        const SINE: u32 = T[$n];
        for i in 0..I {
            let sum = $a[i].add($w[i][WORD].add(L::splat(SINE)));
            $a[i] = sum.$op($b[i], $c[i], $d[i]).rotate::<$shift, { 32 - $shift }>().add($b[i]);
        }
    }};
}

macro_rules! four_steps {
    ($op:ident, $n:expr, $mul:literal, $plus:literal, $shifts:tt, $w:ident, $s:tt) => {
        four_steps!(@ $op, $n, $mul, $plus, $shifts, $w, $s)
    };
    (@ $op:ident, $n:expr, $mul:literal, $plus:literal, ($s0:literal $s1:literal $s2:literal $s3:literal), $w:ident,
     ($a:ident $b:ident $c:ident $d:ident)) => {
        step!($op, $n, $mul, $plus, $s0, $w, $a, $b, $c, $d);
        step!($op, $n + 1, $mul, $plus, $s1, $w, $d, $a, $b, $c);
        step!($op, $n + 2, $mul, $plus, $s2, $w, $c, $d, $a, $b);
        step!($op, $n + 3, $mul, $plus, $s3, $w, $b, $c, $d, $a);
    };
}

macro_rules! round {
    ($op:ident, $n:expr, $mul:literal, $plus:literal, $shifts:tt, $w:ident, $s:tt) => {
        four_steps!($op, $n, $mul, $plus, $shifts, $w, $s);
        four_steps!($op, $n + 4, $mul, $plus, $shifts, $w, $s);
        four_steps!($op, $n + 8, $mul, $plus, $shifts, $w, $s);
        four_steps!($op, $n + 12, $mul, $plus, $shifts, $w, $s);
    };
}

/// Adds `blocks` blocks of each of `L::WIDTH * I` inputs to their states.
///
/// # Safety
/// The CPU has the instructions of `L`.
#[inline(always)]
unsafe fn compress<L: Lanes, const I: usize>(states: &mut [[u32; 4]], inputs: &[&[[u8; 64]]], blocks: usize) {
    // SAFETY: the caller has the instructions; every index is checked.
    unsafe {
        let mut state = [[L::splat(0); I]; 4];
        for (word, vectors) in state.iter_mut().enumerate() {
            for (i, vector) in vectors.iter_mut().enumerate() {
                let mut words = [0; 16];
                for lane in 0..L::WIDTH {
                    words[lane] = states[i * L::WIDTH + lane][word];
                }
                *vector = L::load(&words);
            }
        }
        let [mut a, mut b, mut c, mut d] = state;
        for at in 0..blocks {
            let mut w = [[L::splat(0); 16]; I];
            for i in 0..I {
                w[i] = L::message(&inputs[i * L::WIDTH..(i + 1) * L::WIDTH], at);
            }
            let before = [a, b, c, d];
            round!(add_f, 0, 1, 0, (7 12 17 22), w, (a b c d));
            round!(add_g, 16, 5, 1, (5 9 14 20), w, (a b c d));
            round!(add_h, 32, 3, 5, (4 11 16 23), w, (a b c d));
            round!(add_i, 48, 7, 0, (6 10 15 21), w, (a b c d));
            for i in 0..I {
                a[i] = a[i].add(before[0][i]);
                b[i] = b[i].add(before[1][i]);
                c[i] = c[i].add(before[2][i]);
                d[i] = d[i].add(before[3][i]);
            }
        }
        for (word, vectors) in [a, b, c, d].into_iter().enumerate() {
            for (i, vector) in vectors.into_iter().enumerate() {
                let mut words = [0; 16];
                vector.store(&mut words);
                for lane in 0..L::WIDTH {
                    states[i * L::WIDTH + lane][word] = words[lane];
                }
            }
        }
    }
}

fn scalar<const I: usize>(states: &mut [[u32; 4]], inputs: &[&[[u8; 64]]], blocks: usize) {
    // SAFETY: plain words need no special instructions.
    unsafe { compress::<u32, I>(states, inputs, blocks) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn avx2<const I: usize>(states: &mut [[u32; 4]], inputs: &[&[[u8; 64]]], blocks: usize) {
    // SAFETY: AVX2 is enabled for this function.
    unsafe { compress::<Avx2, I>(states, inputs, blocks) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn avx512<const I: usize>(states: &mut [[u32; 4]], inputs: &[&[[u8; 64]]], blocks: usize) {
    // SAFETY: AVX-512F is enabled for this function.
    unsafe { compress::<Avx512, I>(states, inputs, blocks) }
}

/// Adds all blocks of each input to the state of the same index. All inputs have the same length.
///
/// # Panics
/// If there are more than [`MAX_STREAMS`] streams, or the slices' lengths differ.
pub(super) fn advance(level: Level, states: &mut [[u32; 4]], inputs: &[&[[u8; 64]]]) {
    let streams = states.len();
    assert!(streams == inputs.len() && streams <= MAX_STREAMS);
    let Some(first) = inputs.first() else { return };
    let blocks = first.len();
    assert!(inputs.iter().all(|input| input.len() == blocks));
    match streams {
        1 => return scalar::<1>(states, inputs, blocks),
        2 => return scalar::<2>(states, inputs, blocks),
        3 => return scalar::<3>(states, inputs, blocks),
        4 => return scalar::<4>(states, inputs, blocks),
        _ => {}
    }
    #[cfg(target_arch = "x86_64")]
    if level >= Level::Avx2 {
        // Lanes without a stream compute the first one's input into states that nobody uses.
        let mut all_states = [INITIAL; MAX_STREAMS];
        all_states[..streams].copy_from_slice(states);
        let mut all_inputs = [*first; MAX_STREAMS];
        all_inputs[..streams].copy_from_slice(inputs);
        // SAFETY: the level says that the CPU has the instructions.
        unsafe {
            match (level, streams) {
                (Level::Avx512, ..=16) => avx512::<1>(&mut all_states, &all_inputs, blocks),
                (Level::Avx512, _) => avx512::<2>(&mut all_states, &all_inputs, blocks),
                (_, ..=8) => avx2::<1>(&mut all_states, &all_inputs, blocks),
                (_, ..=16) => avx2::<2>(&mut all_states, &all_inputs, blocks),
                _ => {
                    avx2::<2>(&mut all_states, &all_inputs, blocks);
                    avx2::<2>(&mut all_states[16..], &all_inputs[16..], blocks);
                }
            }
        }
        states.copy_from_slice(&all_states[..streams]);
        return;
    }
    for (states, inputs) in states.chunks_mut(4).zip(inputs.chunks(4)) {
        advance(level, states, inputs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_and_width_agrees_with_one_plain_stream() {
        let data: Vec<[u8; 64]> = (0..MAX_STREAMS * 5)
            .map(|block| {
                std::array::from_fn(|at| (block * 64 + at).wrapping_mul(0x9e37_79b9).to_be_bytes()[5])
            })
            .collect();
        let inputs: Vec<&[[u8; 64]]> = data.chunks(5).collect();
        let mut expected = [INITIAL; MAX_STREAMS];
        for (state, input) in expected.iter_mut().zip(&inputs) {
            scalar::<1>(std::slice::from_mut(state), std::slice::from_ref(input), 5);
        }
        for level in [Level::Scalar, Level::Avx2, Level::Avx512] {
            if level > Level::detect() {
                continue;
            }
            for streams in 0..=MAX_STREAMS {
                let mut states = vec![INITIAL; streams];
                advance(level, &mut states, &inputs[..streams]);
                assert_eq!(states, expected[..streams], "{level:?}, {streams} streams");
            }
        }
    }
}
