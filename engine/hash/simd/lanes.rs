//! The operations on a vector of 32-bit lanes that MD5 needs, and the vectors: one `u32`, AVX2's eight, AVX-512's
//! sixteen.
//!
//! All methods are `inline(always)`, so that they are compiled into a function that enables the instructions.

/// A vector whose lanes belong to different streams.
pub(super) trait Lanes: Copy {
    /// Number of lanes.
    const WIDTH: usize;

    /// The same value in every lane.
    ///
    /// # Safety
    /// Here and below: the CPU has the instructions of the implementing type.
    unsafe fn splat(value: u32) -> Self;
    /// Loads the first [`Lanes::WIDTH`] words.
    unsafe fn load(words: &[u32; 16]) -> Self;
    /// Stores the first [`Lanes::WIDTH`] words.
    unsafe fn store(self, words: &mut [u32; 16]);
    /// The sixteen message words of block `at` of each lane's input.
    unsafe fn message(inputs: &[&[[u8; 64]]], at: usize) -> [Self; 16];
    /// Lane-wise sum.
    unsafe fn add(self, other: Self) -> Self;
    /// Rotates left by `L`; `R` is 32 - `L`.
    unsafe fn rotate<const L: i32, const R: i32>(self) -> Self;
    /// Adds RFC 1321's F: `b` chooses between `c` and `d`.
    unsafe fn add_f(self, b: Self, c: Self, d: Self) -> Self;
    /// Adds G: `d` chooses between `b` and `c`.
    unsafe fn add_g(self, b: Self, c: Self, d: Self) -> Self;
    /// Adds H: the parity of all three.
    unsafe fn add_h(self, b: Self, c: Self, d: Self) -> Self;
    /// Adds I: `c ^ (b | !d)`.
    unsafe fn add_i(self, b: Self, c: Self, d: Self) -> Self;
}

impl Lanes for u32 {
    const WIDTH: usize = 1;

    #[inline(always)]
    unsafe fn splat(value: u32) -> u32 {
        value
    }
    #[inline(always)]
    unsafe fn load(words: &[u32; 16]) -> u32 {
        words[0]
    }
    #[inline(always)]
    unsafe fn store(self, words: &mut [u32; 16]) {
        words[0] = self;
    }
    #[inline(always)]
    unsafe fn message(inputs: &[&[[u8; 64]]], at: usize) -> [u32; 16] {
        let (words, _) = inputs[0][at].as_chunks::<4>();
        let mut message = [0; 16];
        for (word, bytes) in message.iter_mut().zip(words) {
            *word = u32::from_le_bytes(*bytes);
        }
        message
    }
    #[inline(always)]
    unsafe fn add(self, other: u32) -> u32 {
        self.wrapping_add(other)
    }
    #[inline(always)]
    unsafe fn rotate<const L: i32, const R: i32>(self) -> u32 {
        self.rotate_left(L as u32)
    }
    #[inline(always)]
    unsafe fn add_f(self, b: u32, c: u32, d: u32) -> u32 {
        self.wrapping_add(((c ^ d) & b) ^ d)
    }
    #[inline(always)]
    unsafe fn add_g(self, b: u32, c: u32, d: u32) -> u32 {
        // The two halves share no bits, so they may be added. `b` is known last, so its term comes last.
        self.wrapping_add(!d & c).wrapping_add(d & b)
    }
    #[inline(always)]
    unsafe fn add_h(self, b: u32, c: u32, d: u32) -> u32 {
        self.wrapping_add((c ^ d) ^ b)
    }
    #[inline(always)]
    unsafe fn add_i(self, b: u32, c: u32, d: u32) -> u32 {
        self.wrapping_add((b | !d) ^ c)
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) mod x86 {
    use super::Lanes;
    use std::arch::x86_64::*;

    /// Sixteen bytes of one lane's block.
    #[inline(always)]
    unsafe fn quarter(block: &[u8; 64], index: usize) -> __m128i {
        // SAFETY: the caller's index is below 4, so the load stays in the block; it needs no alignment.
        unsafe { _mm_loadu_si128(block.as_ptr().add(16 * index).cast()) }
    }

    /// Implements the methods that differ only in the intrinsics' names. `$rows` gathers 16 bytes of each
    /// fourth lane into one vector, so that a 4×4 transpose within 128-bit parts finishes the message.
    macro_rules! vector {
        ($name:ident, $width:literal, $splat:ident, $load:ident, $store:ident, $add:ident, $rows:ident,
         $lo32:ident, $hi32:ident, $lo64:ident, $hi64:ident) => {
            const WIDTH: usize = $width;

            #[inline(always)]
            unsafe fn splat(value: u32) -> Self {
                // SAFETY: the caller has the instructions.
                $name(unsafe { $splat(value as i32) })
            }
            #[inline(always)]
            unsafe fn load(words: &[u32; 16]) -> Self {
                // SAFETY: the array is at least as long as the vector; no alignment is needed.
                $name(unsafe { $load(words.as_ptr().cast()) })
            }
            #[inline(always)]
            unsafe fn store(self, words: &mut [u32; 16]) {
                // SAFETY: as for load.
                unsafe { $store(words.as_mut_ptr().cast(), self.0) }
            }
            #[inline(always)]
            unsafe fn add(self, other: Self) -> Self {
                // SAFETY: the caller has the instructions.
                $name(unsafe { $add(self.0, other.0) })
            }
            #[inline(always)]
            unsafe fn message(inputs: &[&[[u8; 64]]], at: usize) -> [Self; 16] {
                // SAFETY: the caller has the instructions; `part` is below 4.
                unsafe {
                    let mut message = [Self::splat(0); 16];
                    for part in 0..4 {
                        let r0 = $rows(inputs, at, 0, part);
                        let r1 = $rows(inputs, at, 1, part);
                        let r2 = $rows(inputs, at, 2, part);
                        let r3 = $rows(inputs, at, 3, part);
                        let (a, b) = ($lo32(r0, r1), $hi32(r0, r1));
                        let (c, d) = ($lo32(r2, r3), $hi32(r2, r3));
                        message[part * 4] = $name($lo64(a, c));
                        message[part * 4 + 1] = $name($hi64(a, c));
                        message[part * 4 + 2] = $name($lo64(b, d));
                        message[part * 4 + 3] = $name($hi64(b, d));
                    }
                    message
                }
            }
        };
    }

    #[inline(always)]
    unsafe fn rows8(inputs: &[&[[u8; 64]]], at: usize, lane: usize, part: usize) -> __m256i {
        // SAFETY: the caller has AVX2 and a part below 4.
        unsafe {
            let low = quarter(&inputs[lane][at], part);
            let high = quarter(&inputs[lane + 4][at], part);
            _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(low), high)
        }
    }

    #[inline(always)]
    unsafe fn rows16(inputs: &[&[[u8; 64]]], at: usize, lane: usize, part: usize) -> __m512i {
        // SAFETY: the caller has AVX-512F and a part below 4.
        unsafe {
            let rows = _mm512_castsi128_si512(quarter(&inputs[lane][at], part));
            let rows = _mm512_inserti32x4::<1>(rows, quarter(&inputs[lane + 4][at], part));
            let rows = _mm512_inserti32x4::<2>(rows, quarter(&inputs[lane + 8][at], part));
            _mm512_inserti32x4::<3>(rows, quarter(&inputs[lane + 12][at], part))
        }
    }

    /// Eight lanes with AVX2.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx2(__m256i);

    impl Lanes for Avx2 {
        vector!(
            Avx2,
            8,
            _mm256_set1_epi32,
            _mm256_loadu_si256,
            _mm256_storeu_si256,
            _mm256_add_epi32,
            rows8,
            _mm256_unpacklo_epi32,
            _mm256_unpackhi_epi32,
            _mm256_unpacklo_epi64,
            _mm256_unpackhi_epi64
        );
        #[inline(always)]
        unsafe fn rotate<const L: i32, const R: i32>(self) -> Self {
            // SAFETY: here and below, the caller has AVX2.
            Avx2(unsafe { _mm256_or_si256(_mm256_slli_epi32::<L>(self.0), _mm256_srli_epi32::<R>(self.0)) })
        }
        #[inline(always)]
        unsafe fn add_f(self, b: Self, c: Self, d: Self) -> Self {
            // SAFETY: see rotate.
            unsafe {
                let chosen = _mm256_and_si256(_mm256_xor_si256(c.0, d.0), b.0);
                self.add(Avx2(_mm256_xor_si256(chosen, d.0)))
            }
        }
        #[inline(always)]
        unsafe fn add_g(self, b: Self, c: Self, d: Self) -> Self {
            // SAFETY: see rotate.
            unsafe { self.add(Avx2(_mm256_andnot_si256(d.0, c.0))).add(Avx2(_mm256_and_si256(d.0, b.0))) }
        }
        #[inline(always)]
        unsafe fn add_h(self, b: Self, c: Self, d: Self) -> Self {
            // SAFETY: see rotate.
            unsafe { self.add(Avx2(_mm256_xor_si256(_mm256_xor_si256(c.0, d.0), b.0))) }
        }
        #[inline(always)]
        unsafe fn add_i(self, b: Self, c: Self, d: Self) -> Self {
            // SAFETY: see rotate.
            unsafe {
                let not_d = _mm256_xor_si256(d.0, _mm256_set1_epi32(-1));
                self.add(Avx2(_mm256_xor_si256(_mm256_or_si256(b.0, not_d), c.0)))
            }
        }
    }

    /// Sixteen lanes with AVX-512F. Bit `4b + 2c + d` of a truth table is the function's value.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx512(__m512i);

    impl Lanes for Avx512 {
        vector!(
            Avx512,
            16,
            _mm512_set1_epi32,
            _mm512_loadu_si512,
            _mm512_storeu_si512,
            _mm512_add_epi32,
            rows16,
            _mm512_unpacklo_epi32,
            _mm512_unpackhi_epi32,
            _mm512_unpacklo_epi64,
            _mm512_unpackhi_epi64
        );
        #[inline(always)]
        unsafe fn rotate<const L: i32, const R: i32>(self) -> Self {
            // SAFETY: here and below, the caller has AVX-512F.
            Avx512(unsafe { _mm512_rol_epi32::<L>(self.0) })
        }
        #[inline(always)]
        unsafe fn add_f(self, b: Self, c: Self, d: Self) -> Self {
            // SAFETY: see rotate.
            unsafe { self.add(Avx512(_mm512_ternarylogic_epi32::<0xca>(b.0, c.0, d.0))) }
        }
        #[inline(always)]
        unsafe fn add_g(self, b: Self, c: Self, d: Self) -> Self {
            // SAFETY: see rotate.
            unsafe { self.add(Avx512(_mm512_ternarylogic_epi32::<0xe4>(b.0, c.0, d.0))) }
        }
        #[inline(always)]
        unsafe fn add_h(self, b: Self, c: Self, d: Self) -> Self {
            // SAFETY: see rotate.
            unsafe { self.add(Avx512(_mm512_ternarylogic_epi32::<0x96>(b.0, c.0, d.0))) }
        }
        #[inline(always)]
        unsafe fn add_i(self, b: Self, c: Self, d: Self) -> Self {
            // SAFETY: see rotate.
            unsafe { self.add(Avx512(_mm512_ternarylogic_epi32::<0x39>(b.0, c.0, d.0))) }
        }
    }
}
