//! What ggml's kernels for processors with AVX2 take several times longer for than such a processor needs: products of
//! quantized weights with several rows ([`product`]), and attention of several tokens ([`attention`]). Together they are nearly
//! all of a prompt's time.
//!
//! Arithmetic is ggml's own: the same roundings of what is stored, sums in 32 bits. And a token's results are computed in one
//! order, whatever other tokens are in the batch: they have the same bits in every batch.
//!
//! Nothing here knows llama.cpp: the engine brings its tensors.

#![cfg(target_arch = "x86_64")]

pub mod attention;
pub mod product;

/// Whether this processor can run them.
#[must_use]
pub fn is_supported() -> bool {
    std::arch::is_x86_feature_detected!("avx2")
        && std::arch::is_x86_feature_detected!("fma")
        && std::arch::is_x86_feature_detected!("f16c")
}
