//! Numbers of a header as people say them: quantizations and sizes.

use super::tensor::TensorInfo;
use std::collections::HashMap;

/// The name of llama.cpp's `llama_ftype`, in Ollama's spelling.
pub(super) fn file_type(id: u64) -> Option<&'static str> {
    Some(match id {
        0 => "F32",
        1 => "F16",
        2 => "Q4_0",
        3 => "Q4_1",
        7 => "Q8_0",
        8 => "Q5_0",
        9 => "Q5_1",
        10 => "Q2_K",
        11 => "Q3_K_S",
        12 => "Q3_K_M",
        13 => "Q3_K_L",
        14 => "Q4_K_S",
        15 => "Q4_K_M",
        16 => "Q5_K_S",
        17 => "Q5_K_M",
        18 => "Q6_K",
        19 => "IQ2_XXS",
        20 => "IQ2_XS",
        21 => "Q2_K_S",
        22 => "IQ3_XS",
        23 => "IQ3_XXS",
        24 => "IQ1_S",
        25 => "IQ4_NL",
        26 => "IQ3_S",
        27 => "IQ3_M",
        28 => "IQ2_S",
        29 => "IQ2_M",
        30 => "IQ4_XS",
        31 => "IQ1_M",
        32 => "BF16",
        36 => "TQ1_0",
        37 => "TQ2_0",
        38 => "MXFP4",
        39 => "NVFP4",
        40 => "Q1_0",
        41 => "Q2_0",
        _ => return None,
    })
}

/// The type of most weights.
pub(super) fn commonest(tensors: &[TensorInfo]) -> &'static str {
    let mut n_elements: HashMap<&'static str, u64> = HashMap::new();
    for tensor in tensors {
        let sum = n_elements.entry(tensor.kind.name).or_default();
        *sum = sum.saturating_add(tensor.n_elements);
    }
    // By name where two are equal, so that the answer does not depend on a hash.
    n_elements.into_iter().max_by_key(|&(name, sum)| (sum, name)).map_or("unknown", |(name, _)| name)
}

/// A number of weights, with one decimal where it is not whole.
pub(super) fn size(n: u64) -> String {
    let in_units = |unit: u64, suffix: &str| {
        let tenths = (u128::from(n) * 10 + u128::from(unit) / 2) / u128::from(unit);
        match (tenths / 10, tenths % 10) {
            (whole, 0) => format!("{whole}{suffix}"),
            (whole, tenth) => format!("{whole}.{tenth}{suffix}"),
        }
    };
    // Each unit begins where the one below would show 1000.
    match n {
        999_950_000.. => in_units(1_000_000_000, "B"),
        999_500..=999_949_999 => in_units(1_000_000, "M"),
        1_000..=999_499 => format!("{}K", (n + 500) / 1_000),
        _ => n.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_people_say_them() {
        let said: Vec<String> =
            [0, 999, 1_000, 292_800, 999_499, 999_500, 2_600_000, 134_515_008, 999_949_999, 999_950_000, 1_235_814_432]
                .map(size)
                .to_vec();
        assert_eq!(said, ["0", "999", "1K", "293K", "999K", "1M", "2.6M", "134.5M", "999.9M", "1B", "1.2B"]);
        assert_eq!(size(u64::MAX), "18446744073.7B");
    }

    #[test]
    fn file_types_in_ollamas_spelling() {
        assert_eq!([0, 1, 7, 15, 32].map(file_type), ["F32", "F16", "Q8_0", "Q4_K_M", "BF16"].map(Some));
        assert_eq!([4, 33, 1024, u64::MAX].map(file_type), [None; 4]);
    }
}
