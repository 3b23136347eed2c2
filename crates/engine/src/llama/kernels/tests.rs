//! ggml's graphs that come here, against the same with one token each or over a view of the weights, which ggml computes itself.

use llama_cpp_sys_2 as ggml;

use super::super::product::{Owned, allocate, context};
use super::choose;
use super::hook::REPACKED;
use super::task::{Task, format};
use crate::compute::Kernels;

type Tensor = ggml::ggml_tensor;

/// ggml's processor, with two threads.
fn processor() -> Owned<ggml::ggml_backend> {
    super::super::backend().unwrap();
    choose(Kernels::On).unwrap();
    // SAFETY: ggml's own device.
    unsafe {
        let backend = ggml::ggml_backend_dev_init(device(), std::ptr::null());
        ggml::ggml_backend_cpu_set_n_threads(backend, 2);
        Owned::new(backend, |it| ggml::ggml_backend_free(it)).unwrap()
    }
}

fn device() -> ggml::ggml_backend_dev_t {
    // SAFETY: takes a number.
    unsafe { ggml::ggml_backend_dev_by_type(ggml::GGML_BACKEND_DEVICE_TYPE_CPU) }
}

fn fill<T>(tensor: *mut Tensor, numbers: &[T]) {
    // SAFETY: a tensor of as many bytes.
    unsafe {
        assert_eq!(ggml::ggml_nbytes(tensor), size_of_val(numbers));
        ggml::ggml_backend_tensor_set(tensor, numbers.as_ptr().cast(), 0, size_of_val(numbers));
    }
}

/// Whether the operation is one of ours, and its results.
fn compute(op: *mut Tensor, context: &Owned<ggml::ggml_context>) -> (bool, Vec<f32>) {
    let processor = processor();
    // SAFETY: the operation's tensors are live and filled.
    unsafe {
        let is_ours = Task::of(op, REPACKED.get().unwrap().buffer_type).is_some();
        let graph = ggml::ggml_new_graph(context.get());
        ggml::ggml_build_forward_expand(graph, op);
        let status = ggml::ggml_backend_graph_compute(processor.get(), graph);
        assert_eq!(status, ggml::GGML_STATUS_SUCCESS);
        let mut out = vec![0f32; ggml::ggml_nelements(op) as usize];
        ggml::ggml_backend_tensor_get(op, out.as_mut_ptr().cast(), 0, size_of_val(&*out));
        (is_ours, out)
    }
}

/// Who multiplies: weights that are a view of others are left to ggml.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Us,
    Ggml,
}

/// The product of weights with rows of numbers.
fn multiply(kind: ggml::ggml_type, (n_in, n_out): (usize, usize), weights: &[u8], numbers: &[f32], by: By) -> Vec<f32> {
    let (owner, graph) = (context().unwrap(), context().unwrap());
    // SAFETY: both contexts have room for a few tensors.
    unsafe {
        let matrix = ggml::ggml_new_tensor_2d(owner.get(), kind, n_in as i64, n_out as i64);
        let plain = ggml::ggml_backend_dev_buffer_type(device());
        let _weights = allocate(&owner, plain).unwrap();
        fill(matrix, weights);
        let matrix = match by {
            By::Us => matrix,
            By::Ggml => ggml::ggml_view_tensor(graph.get(), matrix),
        };
        let rows = (numbers.len() / n_in) as i64;
        let input = ggml::ggml_new_tensor_2d(graph.get(), ggml::GGML_TYPE_F32, n_in as i64, rows);
        let op = ggml::ggml_mul_mat(graph.get(), matrix, input);
        let _buffer = allocate(&graph, plain).unwrap();
        fill(input, numbers);
        let (is_ours, out) = compute(op, &graph);
        assert_eq!(is_ours, by == By::Us, "type {kind}, {rows} rows");
        out
    }
}

fn assert_near(found: &[f32], expected: &[f32], relative: f32, what: &str) {
    assert_eq!(found.len(), expected.len());
    let size = (expected.iter().map(|x| x * x).sum::<f32>() / expected.len() as f32).sqrt();
    let off = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(off < relative * size, "{what}: off by {off}, where numbers are about {size}");
}

#[test]
fn products_are_ggmls() {
    let _alive = processor();
    if REPACKED.get().is_none() {
        return slm_testing::skipped!("not built for this processor");
    }
    let mut random = fastrand::Rng::with_seed(1);
    let n_out = 264;
    // Rows of blocks of 32 need no multiple of 256.
    let kinds = [
        (ggml::GGML_TYPE_Q4_K, 768),
        (ggml::GGML_TYPE_Q5_K, 768),
        (ggml::GGML_TYPE_Q6_K, 768),
        (ggml::GGML_TYPE_Q4_0, 864),
        (ggml::GGML_TYPE_Q4_1, 864),
        (ggml::GGML_TYPE_Q5_0, 864),
        (ggml::GGML_TYPE_Q5_1, 864),
        (ggml::GGML_TYPE_Q8_0, 864),
        (ggml::GGML_TYPE_IQ4_NL, 864),
    ];
    let source: Vec<f32> = (0..864 * n_out).map(|_| random.f32() - 0.5).collect();
    let numbers: Vec<f32> = (0..864 * 13).map(|_| random.f32() - 0.5).collect();
    for (kind, n_in) in kinds {
        let numbers = &numbers[..13 * n_in];
        // SAFETY: room for all rows.
        let weights = unsafe {
            let mut weights = vec![0u8; ggml::ggml_row_size(kind, n_in as i64) * n_out];
            let (rows, row) = (n_out as i64, n_in as i64);
            let into = weights.as_mut_ptr().cast();
            ggml::ggml_quantize_chunk(kind, source.as_ptr(), into, 0, rows, row, std::ptr::null());
            weights
        };
        let of = |numbers: &[f32], by| multiply(kind, (n_in, n_out), &weights, numbers, by);
        let expected = of(numbers, By::Ggml);
        assert_near(&of(numbers, By::Us), &expected, 0.03, &format!("type {kind}"));
        if format(kind).is_some_and(|format| format.least_rows() == 1) {
            assert_near(&of(&numbers[..n_in], By::Us), &expected[..n_out], 0.03, &format!("type {kind}, alone"));
        }
    }
}

#[test]
fn attention_is_ggmls() {
    let _alive = processor();
    if REPACKED.get().is_none() {
        return slm_testing::skipped!("not built for this processor");
    }
    let mut random = fastrand::Rng::with_seed(2);
    let (size, n_heads, n_key_heads, n_tokens, n_cells) = (64usize, 6usize, 2usize, 11usize, 128usize);
    let mut halves =
        |n: usize| -> Vec<u16> { (0..n).map(|_| half::f16::from_f32(random.f32() * 4.0 - 2.0).to_bits()).collect() };
    let (keys, values) = (halves(size * n_cells * n_key_heads), halves(size * n_cells * n_key_heads));
    let queries: Vec<f32> = (0..size * n_tokens * n_heads).map(|_| random.f32() * 4.0 - 2.0).collect();
    let sees = |token: usize, cell: usize| cell <= 60 + token;
    let mask = |token: usize| (0..n_cells).map(move |cell| if sees(token, cell) { 0 } else { 0xfc00 });
    let of = |tokens: std::ops::Range<usize>, cap: f32| {
        let graph = context().unwrap();
        let n = tokens.len() as i64;
        let (size, n_heads, n_key_heads, n_cells) = (size as i64, n_heads as i64, n_key_heads as i64, n_cells as i64);
        // SAFETY: the context has room for a few tensors; strides are those of tokens with their heads side by side.
        unsafe {
            let float = ggml::GGML_TYPE_F32;
            let heads = ggml::ggml_new_tensor_3d(graph.get(), float, size, n_heads, n);
            let half = |heads: i64| ggml::ggml_new_tensor_3d(graph.get(), ggml::GGML_TYPE_F16, size, n_cells, heads);
            let (k, v) = (half(n_key_heads), half(n_key_heads));
            let m = ggml::ggml_new_tensor_2d(graph.get(), ggml::GGML_TYPE_F16, n_cells, n);
            let q = ggml::ggml_permute(graph.get(), heads, 0, 2, 1, 3);
            let op = ggml::ggml_flash_attn_ext(graph.get(), q, k, v, m, 0.125, 0.0, cap);
            let _buffer = allocate(&graph, ggml::ggml_backend_dev_buffer_type(device())).unwrap();
            let row = (size * n_heads) as usize;
            fill(heads, &queries[tokens.start * row..tokens.end * row]);
            fill(k, &keys);
            fill(v, &values);
            fill(m, &tokens.flat_map(mask).collect::<Vec<u16>>());
            compute(op, &graph)
        }
    };
    for cap in [0.0, 3.0] {
        let (is_ours, together) = of(0..n_tokens, cap);
        assert!(is_ours);
        let alone: Vec<f32> = (0..n_tokens)
            .flat_map(|token| {
                let (is_ours, out) = of(token..token + 1, cap);
                assert!(!is_ours);
                out
            })
            .collect();
        // ggml adds up values in 16 bits.
        assert_near(&together, &alone, 0.03, &format!("cap {cap}"));
    }
}
