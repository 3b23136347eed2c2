//! Whatever goes between processes arrives as it was, to the last bit.

use std::fmt::Debug;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::compute::{Compute, ComputeError, Devices, FlashAttention, Kernels, KvType, Paging, WeightsIn};
use crate::memory::{Limit, Need, Room, Shortage};
use crate::waiting::Waiting;
use crate::{
    Adapter, AdapterSet, Counts, Cut, Detail, Drafts, EmbedRequest, EmbeddingKind, Embeddings, Ending, EngineError,
    Event, Finish, GenerateRequest, GeneratedToken, Generation, Grammar, Group, GroupScores, Lane, LikelyToken, Load,
    Measure, Measured, ModelInfo, NextLogprob, NextToken, Options, Pass, Piece, Point, ProbeRequest, PromptLogprobs,
    PromptLogprobsRequest, PromptToken, PromptTokenLogprob, Reading, Request, ScoreRequest, Scores, Search, Spelling,
    StateAt, Timings, TokenKind, TokenLogprob, Tokenized, Weights,
};
use slm_values::gguf::{Footprint, Matrix, TensorType};
use slm_values::prompt::{Infill, Prompt, RowSpan, Run, RunOffset, SpecialTokens};
use slm_values::sampling::Sampling;

/// Compared as text and as bytes: text shows every field, and bytes every bit of a float that is not a number.
#[track_caller]
fn arrives<T: Serialize + DeserializeOwned + Debug>(value: &T) {
    let sent = postcard::to_stdvec(value).unwrap();
    let received: T = postcard::from_bytes(&sent).unwrap();
    assert_eq!(format!("{received:?}"), format!("{value:?}"));
    assert_eq!(postcard::to_stdvec(&received).unwrap(), sent);
}

fn path() -> PathBuf {
    use std::os::unix::ffi::OsStringExt as _;
    std::ffi::OsString::from_vec(b"/models/na\xffme \xc3\xa9".to_vec()).into()
}

fn footprint() -> Footprint {
    let matrix = Matrix { kind: TensorType::Q8_0, n_in: 64, n_out: u64::MAX };
    Footprint { weights: 1, n_layers: 2, keys: 3, values: 4, matrix: Some(matrix), ..Footprint::default() }
}

fn compute() -> Compute {
    Compute {
        n_threads: Some(3),
        n_gpu_layers: Some(0),
        devices: Devices::These(vec!["CUDA0".to_owned(), "1".to_owned()]),
        main_gpu: Some(1),
        kv_type: KvType::Iq4Nl,
        flash_attention: FlashAttention::Off,
        n_batch: Some(u32::MAX),
        n_ubatch: None,
        weights_in: WeightsIn::Memory,
        paging: Paging::Locked,
        kernels: Kernels::Off,
    }
}

fn prompt() -> Prompt {
    let text = Run::Text { text: "Grüße <|im_end|>\0".to_owned(), persons: vec![0..8, 9..19] };
    Prompt {
        runs: vec![Run::Control("<|im_start|>".to_owned()), text],
        row_start: Some(RunOffset { run: 1, offset: 8 }),
        row: Some(RowSpan { run: 1, range: 8..19 }),
    }
}

fn adapters(scale: f32) -> AdapterSet {
    let adapter = |id: &str| Adapter { path: path(), id: id.to_owned(), scale };
    AdapterSet::new([adapter("b"), adapter("a")])
}

fn sampling(temperature: f32) -> Sampling {
    Sampling {
        temperature,
        top_k: 40,
        top_p: 0.9,
        min_p: f32::MIN_POSITIVE,
        typical_p: 1.0,
        repeat_last_n: -1,
        repeat_penalty: 1.1,
        presence_penalty: -0.0,
        frequency_penalty: 0.5,
        seed: Some(u32::MAX),
        num_predict: None,
        num_ctx: Some(4096),
        num_keep: 4,
        stop: vec![String::new(), "\u{10ffff}".to_owned()],
        num_batch: None,
        num_gpu: Some(-1),
        main_gpu: None,
        use_mmap: Some(false),
        num_thread: Some(0),
    }
}

fn requests(number: f32) -> Vec<Request> {
    let tokens = vec![
        GeneratedToken { id: -1, n_bytes: 0, logprob: None },
        GeneratedToken { id: i32::MAX, n_bytes: 3, logprob: Some(f64::from(number)) },
    ];
    let candidates = vec!["billing".to_owned(), String::new()];
    let spelling = Spelling { before: "queue:".to_owned(), after: "}".to_owned() };
    let group = Group { spellings: vec![spelling, Spelling::default()], candidates, ending: Ending::Text };
    let points = vec![Point { at: 3, candidates: vec!["yes".to_owned(), "no".to_owned()] }];
    vec![
        Request::Tokenize(prompt()),
        Request::Cut { text: "a\r\nb".to_owned(), n_tokens: usize::MAX },
        Request::Prepare(adapters(number)),
        Request::Score(ScoreRequest {
            prompt: prompt(),
            groups: vec![group],
            reading: Reading::Likelihood,
            search: Search::Exact,
            adapters: adapters(number),
            turn_end: Some("<|im_end|>".to_owned()),
            lane: Lane::Throughput,
            state: Some(StateAt::ChoiceAndRow),
        }),
        Request::PromptLogprobs(PromptLogprobsRequest {
            prompt: prompt(),
            n_likely: u8::MAX,
            next: Some(NextToken { sampling: sampling(number), bias: vec![(7, number)] }),
            adapters: adapters(number),
        }),
        Request::Embed(EmbedRequest { texts: vec![String::new(), "text".to_owned()], adapters: AdapterSet::NONE }),
        Request::Generate(GenerateRequest {
            adapters: adapters(1.0),
            grammar: Some(Grammar("start: /a+/".into())),
            detail: Detail::Likely { n: 20 },
            drafts: Drafts::Off,
            bias: vec![(-1, number), (i32::MAX, -100.0)],
            visible: vec!["[TOOL_CALLS]".to_owned(), String::new()],
            ..GenerateRequest::new(Prompt::default(), sampling(number))
        }),
        Request::Probe(ProbeRequest { prompt: prompt(), adapters: adapters(number), generated: tokens, points }),
        Request::Measure(Measure::Prefill { n_tokens: 512 }),
        Request::Measure(Measure::Decode { n_tokens: 1, n_sequences: 32, pass: Pass::WarmUp }),
        Request::Measure(Measure::Product { n_tokens: 512 }),
    ]
}

fn events(number: f64) -> Vec<Event> {
    let counts = Counts { prompt: 1, reused: 2, branch: 3, generated: 4, forced: 5, drafted: 6, accepted: 7 };
    let timings = Timings { queued: Duration::ZERO, prompt: Duration::from_nanos(1), generation: Duration::MAX };
    let token = PromptToken { id: 7, bytes: vec![0xc3], kind: TokenKind::UserDefined };
    let tokens = vec![GeneratedToken { id: 1, n_bytes: 2, logprob: Some(number) }];
    let likely = vec![LikelyToken { id: 2, bytes: vec![0xff, 0], logprob: -number }];
    let written = TokenLogprob { id: 1, bytes: vec![0xc3], logprob: number, likely: likely.clone() };
    vec![
        Event::Tokenized(Tokenized { tokens: vec![token], border: 1 }),
        Event::Cut(Cut { n_bytes: 1, n_tokens_kept: 2, n_tokens_cut: 3 }),
        Event::Prepared,
        Event::Scored(Scores {
            groups: vec![GroupScores { logprobs: vec![number, -number], mass: number }],
            state: Some(vec![number as f32, -0.0]),
            counts,
            timings,
        }),
        Event::PromptLogprobs(PromptLogprobs {
            tokens: vec![
                PromptTokenLogprob { id: 1, bytes: vec![0xc3], logprob: None, likely: Vec::new() },
                PromptTokenLogprob { id: 2, bytes: Vec::new(), logprob: Some(number), likely: likely.clone() },
            ],
            next: Some(NextLogprob { token: written.clone(), finish: Finish::Stop, stopped_by: Some("x".to_owned()) }),
            counts,
            timings,
        }),
        Event::Embedded(Embeddings {
            kind: EmbeddingKind::Scores,
            rows: vec![vec![number as f32, f32::NAN]],
            counts,
            timings,
        }),
        Event::Text(Piece { text: "a piece".to_owned(), tokens: vec![written] }),
        Event::Generated(Generation {
            finish: Finish::Length,
            stopped_by: Some("x".to_owned()),
            counts,
            timings,
            tokens,
            ids: vec![-1, 7],
        }),
        Event::Measured(Measured { n_tokens: 5, elapsed: Duration::from_micros(3) }),
    ]
}

fn errors() -> Vec<EngineError> {
    let need = Need { weights: 1, cells: 2, n_ctx: 3, kv_type: KvType::Q4_1, buffers: 4 };
    let room = Room { bytes: u64::MAX, limit: Limit::AddressSpace };
    vec![
        EngineError::Load { reason: "no file".to_owned() },
        EngineError::Compute(ComputeError::NoSuchDevice { name: "x".to_owned(), known: "y".to_owned() }),
        EngineError::Compute(ComputeError::QuantizedWithoutFlashAttention(KvType::Q8_0)),
        EngineError::Memory(Box::new(Shortage { need, room, reason: Some("failed".to_owned()) })),
        EngineError::Context { needed: 9000, n_ctx: 8192 },
        EngineError::TokenOutOfRange { id: -1, last: 31_999 },
        EngineError::Bias { id: 1, bias: f32::INFINITY },
        EngineError::SameTokens("a".to_owned(), "b".to_owned()),
        EngineError::TextTooLong { n_tokens: 600, limit: 512, n_ctx_train: 512 },
        EngineError::Adapter { path: path(), reason: "no adapter".to_owned() },
        EngineError::NoState("x".to_owned()),
        EngineError::Layers { wanted: 3, n_layers: 3 },
        EngineError::Stopped,
    ]
}

#[test]
fn options_arrive_with_paths_that_are_no_text() {
    let weights =
        [Weights::File(path()), Weights::Shards(vec![path(), PathBuf::new()]), Weights::Bytes(vec![0, 255].into())];
    for (weights, load) in weights.into_iter().zip([Load::Everything, Load::Vocabulary, Load::Everything]) {
        arrives(&Options {
            weights,
            weights_id: "sha256:00".to_owned(),
            load,
            n_ctx: Some(u32::MAX),
            compute: compute(),
            footprint: footprint(),
        });
    }
}

#[test]
fn a_models_description_arrives() {
    arrives(&ModelInfo {
        chat_template: Some("{{ messages }}".to_owned()),
        infill: Some(Infill { prefix: "<PRE>".to_owned(), suffix: "<SUF>".to_owned(), middle: String::new() }),
        specials: SpecialTokens { bos: "<s>".to_owned(), eos: String::new(), control: vec!["<s>".to_owned()] },
        n_params: u64::MAX,
        size_bytes: 1,
        n_ctx: 2,
        n_ctx_train: 3,
        n_threads: 4,
        waiting: Waiting::Set { n_turns: u64::MAX },
        devices: vec!["a processor".to_owned()],
        n_gpu_layers: 5,
        n_layers: 6,
        compute: compute(),
        footprint: footprint(),
        kv_bytes: 7,
        evaluation_id: "0123456789abcdef".to_owned(),
        load_duration: Duration::from_nanos(123_456_789_012),
    });
}

#[test]
fn every_error_arrives_with_its_words() {
    for error in errors() {
        let sent = postcard::to_stdvec(&error).unwrap();
        let received: EngineError = postcard::from_bytes(&sent).unwrap();
        assert_eq!(received.to_string(), error.to_string());
        arrives(&Event::Failed(error));
    }
}

#[test]
fn a_type_of_weights_that_ggml_lacks_does_not_arrive() {
    let sent = postcard::to_stdvec(&(9_999_u32, 1_u64, 1_u64)).unwrap();
    assert!(postcard::from_bytes::<Matrix>(&sent).is_err());
}

proptest! {
    #[test]
    fn requests_and_events_arrive_to_the_last_bit(bits: u64) {
        let narrow = f32::from_bits(bits as u32);
        requests(narrow).iter().for_each(arrives);
        events(f64::from_bits(bits)).iter().for_each(arrives);
    }

    #[test]
    fn bytes_that_nobody_sent_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        let _ = postcard::from_bytes::<Request>(&bytes);
        let _ = postcard::from_bytes::<Event>(&bytes);
        let _ = postcard::from_bytes::<Options>(&bytes);
    }
}
