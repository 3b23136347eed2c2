//! What ggml's kernels for processors with AVX2 take several times longer for than such a processor needs: products of
//! quantized weights with rows of numbers ([`product`]), and attention of several tokens ([`attention`]). Together they are nearly
//! all of a prompt's time.
//!
//! Arithmetic is ggml's own: numbers of rows are rounded to the same integers, sums have 32 bits. And a token's results are computed in one
//! order, whatever other tokens are in the batch: they have the same bits in every batch.
//!
//! Nothing here knows llama.cpp: the engine brings its tensors.

#![cfg(target_arch = "x86_64")]
#![allow(unsafe_code, reason = "the processor's own instructions over ggml's memory: this crate is made of it")]

pub mod attention;
pub mod product;
#[cfg(test)]
mod testing;

/// The version of the results. Kernels of one version give the same bits for the same input on every processor that
/// [`is_supported`] is true for, whoever compiled them: floating point is IEEE 754's, operation by operation, in an order
/// that is written down. A change that changes a bit needs another version, since stored probabilities are compared by it.
pub const VERSION: u32 = 3;

/// A digest of what [`VERSION`] computes of fixed inputs; a test holds the two together.
#[cfg(test)]
const BITS_OF_VERSION: (u32, u64) = (3, 0xed9f_5057_45df_c177);

/// Whether this processor can run them.
#[must_use]
pub fn is_supported() -> bool {
    std::arch::is_x86_feature_detected!("avx2")
        && std::arch::is_x86_feature_detected!("fma")
        && std::arch::is_x86_feature_detected!("f16c")
}

#[cfg(test)]
mod tests {
    use crate::attention::tests::Case;
    use crate::product::tests::{FORMATS, Matrix, multiply_all, shapes};
    use crate::testing::{Digest, Random};
    use crate::{BITS_OF_VERSION, VERSION, is_supported};

    /// Every format and shape that takes another way through the kernels.
    fn digest() -> u64 {
        let mut digest = Digest::new();
        let mut random = Random::new(7);
        for format in FORMATS {
            for (n_in, n_out, n_rows) in shapes(format) {
                let matrix = Matrix::new(format, (n_in, n_out), || random.byte());
                let numbers: Vec<f32> = (0..n_in * n_rows).map(|_| random.unit() * 4.0 - 2.0).collect();
                digest.add(&multiply_all(&matrix, &numbers));
            }
        }
        for case in Case::several() {
            digest.add(&case.compute());
        }
        digest.value()
    }

    #[test]
    fn another_result_is_another_version() {
        if !is_supported() {
            return slm_testing::skipped!("this processor lacks AVX2, FMA or F16C");
        }
        let found = (VERSION, digest());
        assert_eq!(
            found, BITS_OF_VERSION,
            "results have other bits: raise VERSION, then record it with its digest in BITS_OF_VERSION"
        );
    }
}
