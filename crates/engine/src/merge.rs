//! Several adapters as one: the sum of their products is one product of longer factors, `sum(s B A) = [s B ...] [A; ...]`.
//!
//! llama.cpp keeps the adapters of a context in a hash table of addresses and adds their products in its order, which is
//! another in another process, and with it the last bits of every result. One merged adapter has one order, that of the
//! set. It is written in single precision, with every scale multiplied into B.

use half::{bf16, f16};

use slm_values::gguf::{AdapterHeader, GgufWriter, LoraPair, TensorInfo, TensorType};

/// An adapter's file with what it is multiplied with.
pub struct MergeInput<'a> {
    pub adapter: &'a AdapterHeader,
    pub file: &'a [u8],
    pub scale: f32,
}

/// The adapter that does what all parts do together, as a GGUF file. The parts fit one base model.
///
/// # Errors
/// A part's numbers are of a type that cannot be taken apart, in a sentence.
pub fn merge(parts: &[MergeInput<'_>]) -> Result<Vec<u8>, String> {
    let mut writer = GgufWriter::new();
    writer.text("general.type", "adapter");
    writer.text("general.architecture", parts.first().map_or("", |part| part.adapter.header.architecture()));
    writer.text("adapter.type", "lora");
    writer.float("adapter.lora.alpha", 0.0);
    let pairs = parts.iter().flat_map(|part| part.adapter.pairs.iter().map(move |pair| (part, pair)));
    let mut by_name: std::collections::BTreeMap<&str, Vec<(&MergeInput<'_>, &LoraPair)>> =
        std::collections::BTreeMap::new();
    for (part, pair) in pairs {
        by_name.entry(&pair.name).or_default().push((part, pair));
    }
    for (name, pairs) in by_name {
        let rank: u64 = pairs.iter().map(|(_, pair)| pair.rank()).sum();
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for &(part, pair) in &pairs {
            let scale = part.scale * pair.scale(part.adapter.alpha);
            // An embedding's A has a row for each token, as long as the rank; every other's has a row for each rank.
            let width = if pair.is_embedding() { pair.rank() } else { pair.rank() * pair.a.dimensions[0] };
            a.push((floats(part, &pair.a)?, width as usize));
            let b_values = floats(part, &pair.b)?.into_iter().map(|value| value * scale).collect();
            b.push((b_values, pair.rank() as usize));
        }
        let shape = |first: &TensorInfo, at: usize| {
            let mut dimensions = first.dimensions.clone();
            dimensions[at] = rank;
            dimensions
        };
        let (_, first) = pairs[0];
        let a_shape = shape(&first.a, if first.is_embedding() { 0 } else { 1 });
        writer.tensor(&format!("{name}.lora_a"), &a_shape, TensorType::F32, &interleaved(&a));
        writer.tensor(&format!("{name}.lora_b"), &shape(&first.b, 0), TensorType::F32, &interleaved(&b));
    }
    Ok(writer.into_bytes())
}

/// One stretch of each list after the other, again and again, as bytes.
fn interleaved(lists: &[(Vec<f32>, usize)]) -> Vec<u8> {
    let n_rounds = lists.first().map_or(0, |(values, width)| values.len() / (*width).max(1));
    let round = |at: usize| lists.iter().flat_map(move |(values, width)| &values[at * width..(at + 1) * width]);
    (0..n_rounds).flat_map(round).flat_map(|value| value.to_le_bytes()).collect()
}

/// A tensor's numbers. The header was checked against the file's length.
fn floats(part: &MergeInput<'_>, tensor: &TensorInfo) -> Result<Vec<f32>, String> {
    let start = (part.adapter.header.data_offset + tensor.offset) as usize;
    let bytes = part.file.get(start..start + tensor.n_bytes as usize);
    let bytes = bytes.ok_or_else(|| format!("`{}` changed while it was read", tensor.name))?;
    let pairs = || bytes.as_chunks::<2>().0.iter().copied();
    match tensor.kind {
        TensorType::F32 => Ok(bytes.as_chunks::<4>().0.iter().map(|&value| f32::from_le_bytes(value)).collect()),
        TensorType::F16 => Ok(pairs().map(|value| f16::from_le_bytes(value).to_f32()).collect()),
        TensorType::BF16 => Ok(pairs().map(|value| bf16::from_le_bytes(value).to_f32()).collect()),
        TensorType::Q8_0 => Ok(bytes.as_chunks::<34>().0.iter().flat_map(q8_0_block).collect()),
        kind => Err(format!(
            "`{}` is of type `{}`; together with others, adapters of the types F32, F16, BF16 and Q8_0 can be applied",
            tensor.name, kind.name
        )),
    }
}

/// ggml's block of 32 signed bytes with one scale in half precision.
fn q8_0_block(block: &[u8; 34]) -> [f32; 32] {
    let scale = f16::from_le_bytes([block[0], block[1]]).to_f32();
    std::array::from_fn(|at| f32::from(block[at + 2].cast_signed()) * scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    /// An adapter of two base tensors, `w` of 3 x 2 and the embedding of 2 (wide) x 3 (tokens).
    fn adapter(rank: u64, alpha: f32, from: f32) -> Vec<u8> {
        let mut writer = GgufWriter::new();
        writer.text("general.type", "adapter");
        writer.text("general.architecture", "llama");
        writer.text("adapter.type", "lora");
        writer.float("adapter.lora.alpha", alpha);
        let mut next = from;
        let mut tensor = |name: &str, dimensions: &[u64], kind: TensorType| {
            let values: Vec<f32> = (0..dimensions.iter().product()).map(|at: u64| next + at as f32).collect();
            next += 100.0;
            let halves = || values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect();
            let data = if kind == TensorType::F32 { bytes(&values) } else { halves() };
            writer.tensor(name, dimensions, kind, &data);
        };
        tensor("w.weight.lora_a", &[3, rank], TensorType::F16);
        tensor("w.weight.lora_b", &[rank, 2], TensorType::F32);
        tensor("token_embd.weight.lora_a", &[rank, 3], TensorType::F32);
        tensor("token_embd.weight.lora_b", &[rank, 2], TensorType::F32);
        writer.into_bytes()
    }

    fn values(header: &AdapterHeader, file: &[u8], name: &str) -> (Vec<u64>, Vec<f32>) {
        let tensor = header.header.tensor(name).unwrap();
        let part = MergeInput { adapter: header, file, scale: 1.0 };
        (tensor.dimensions.clone(), floats(&part, tensor).unwrap())
    }

    #[test]
    fn factors_are_put_side_by_side_and_scales_into_b() {
        let files = [adapter(1, 2.0, 0.0), adapter(2, 0.0, 1000.0)];
        let headers: Vec<AdapterHeader> =
            files.iter().map(|file| AdapterHeader::read(file.as_slice(), file.len() as u64).unwrap()).collect();
        let scales = [0.5, 3.0];
        let parts: Vec<MergeInput> =
            (0..2).map(|at| MergeInput { adapter: &headers[at], file: &files[at], scale: scales[at] }).collect();
        let merged = merge(&parts).unwrap();
        let header = AdapterHeader::read(merged.as_slice(), merged.len() as u64).unwrap();
        let of = |name: &str| values(&header, &merged, name);
        assert_eq!(header.alpha, 0.0);
        assert_eq!(of("w.weight.lora_a"), (vec![3, 3], vec![0., 1., 2., 1000., 1001., 1002., 1003., 1004., 1005.]));
        // 0.5 * 2 / 1 of the first, 3 of the second.
        assert_eq!(of("w.weight.lora_b"), (vec![3, 2], vec![100., 3300., 3303., 101., 3306., 3309.]));
        assert_eq!(
            of("token_embd.weight.lora_a"),
            (vec![3, 3], vec![200., 1200., 1201., 201., 1202., 1203., 202., 1204., 1205.])
        );
        assert_eq!(of("token_embd.weight.lora_b"), (vec![3, 2], vec![300., 3900., 3903., 301., 3906., 3909.]));
    }
}
