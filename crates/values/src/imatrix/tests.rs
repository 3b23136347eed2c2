//! Importance matrices of both forms, and bytes that are neither.

use super::*;
use proptest::prelude::*;

fn imatrix() -> Imatrix {
    let dense = Importance { sums: vec![2.0, 8.0, 0.0], counts: vec![4.0] };
    let experts = Importance { sums: vec![3.0, 6.0, 5.0, 7.0], counts: vec![3.0, 0.0] };
    let entries = [("blk.0.attn_q.weight", dense), ("blk.0.ffn_up_exps.weight", experts)];
    Imatrix {
        entries: entries.map(|(name, entry)| (name.to_owned(), entry)).into(),
        datasets: vec!["rows.jsonl".to_owned()],
        n_chunks: 2,
        chunk_size: 512,
    }
}

/// As llama-imatrix writes it with `--output-format dat`.
fn legacy(name: &str, n_calls: i32, values: &[f32]) -> Vec<u8> {
    let mut bytes = 1_i32.to_le_bytes().to_vec();
    bytes.extend((name.len() as i32).to_le_bytes());
    bytes.extend(name.bytes());
    bytes.extend(n_calls.to_le_bytes());
    bytes.extend((values.len() as i32).to_le_bytes());
    bytes.extend(values.iter().flat_map(|x| x.to_le_bytes()));
    bytes.extend(7_i32.to_le_bytes());
    bytes.extend(5_i32.to_le_bytes());
    bytes.extend(b"a.txt");
    bytes
}

#[test]
fn what_is_written_is_read_again() {
    assert_eq!(Imatrix::parse(&imatrix().to_gguf()).unwrap(), imatrix());
}

#[test]
fn means_are_sums_by_their_counts() {
    let imatrix = imatrix();
    let means = |name: &str| imatrix.entries[name].means();
    assert_eq!(means("blk.0.attn_q.weight"), [0.5, 2.0, 0.0]);
    assert_eq!(means("blk.0.ffn_up_exps.weight"), [1.0, 2.0, 1.0, 1.0], "no text came to the second expert");
}

#[test]
fn the_older_form_is_read() {
    let read = Imatrix::parse(&legacy("blk.0.attn_q.weight", 2, &[1.0, 3.0])).unwrap();
    assert_eq!((read.n_chunks, read.datasets.as_slice()), (7, &["a.txt".to_owned()][..]));
    assert_eq!(read.entries["blk.0.attn_q.weight"].means(), [0.5, 1.5]);
    // Without what came later.
    let bytes = legacy("w", 0, &[1.0, 3.0]);
    let read = Imatrix::parse(&bytes[..bytes.len() - 13]).unwrap();
    assert_eq!((read.n_chunks, read.entries["w"].means()), (0, vec![1.0, 3.0]));
}

#[test]
fn what_is_wrong_is_said() {
    let mut model = GgufWriter::new();
    model.text("general.type", "model");
    let mut nan = imatrix();
    nan.entries.get_mut("blk.0.attn_q.weight").unwrap().sums[0] = f32::NAN;
    for (bytes, expected) in [
        (model.into_bytes(), "is a GGUF file of the kind `model`, not `imatrix`"),
        (nan.to_gguf(), "has a negative or infinite number, or none, for `blk.0.attn_q.weight`"),
        (
            b"not one".to_vec(),
            "is neither a GGUF file nor an importance matrix of the older form: its number of entries is impossible",
        ),
    ] {
        assert_eq!(Imatrix::parse(&bytes).unwrap_err().to_string(), expected);
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0_usize..400) {
        let _ = Imatrix::parse(&bytes);
        let whole = imatrix().to_gguf();
        let _ = Imatrix::parse(&whole[..cut.min(whole.len())]);
    }
}
