//! Everything that changes bits changes the id; and what the lane does changes with its version alone.

use std::path::Path;

use super::*;
use crate::chunks::chunks;
use crate::compute::{Compute, DEFAULT_BATCH};
use crate::scoring::{Candidates, GroupShape, Logits, MAX_BRANCHES, MAX_ROWS, Row, Search, Trie, logprobs};
use crate::{Engine, Group, Load, Options, Reading, ScoreRequest, Search as Extent, Token, UNREAD, Weights};
use slm_values::digest::Digest;
use slm_values::gguf::Footprint;
use slm_values::prompt::{Prompt, Run, RunOffset};

/// A digest of the plans and sums that a version of the lane makes of fixed questions, on every machine.
const PLANS_OF_VERSION: (u32, &str) = (3, "08164f764c00021c");

/// Digests of the probabilities that the embedded model gives fixed questions, under the evaluation ids of machines that they
/// were recorded on. The id has the lane's version: other bits under a recorded id need another one.
const BITS_OF_IDS: [(&str, &str); 2] =
    [("a55d92052344bd19", "f7bf3c2993913258"), ("425ea6fe2169633a", "2de15d873e3f8c19")];

#[test]
fn the_id_names_everything_that_changes_bits() {
    let devices = ["a GPU".to_owned()];
    let own = EvaluationSetting {
        weights_id: "a",
        n_threads: 2,
        n_gpu_layers: 0,
        devices: &[],
        flash_attention: FlashAttention::Auto,
        kernels: Some(1),
        c_library: "glibc 2.36",
    };
    let own_id = id_of("build", "processor", 1, &own);
    assert_eq!(id_of("build", "processor", 1, &own.clone()), own_id);
    let others = [
        EvaluationSetting { weights_id: "b", ..own },
        EvaluationSetting { n_threads: 1, ..own },
        EvaluationSetting { n_gpu_layers: 3, ..own },
        EvaluationSetting { devices: &devices, ..own },
        EvaluationSetting { flash_attention: FlashAttention::Off, ..own },
        EvaluationSetting { kernels: Some(2), ..own },
        EvaluationSetting { kernels: None, ..own },
        EvaluationSetting { c_library: "glibc 2.41", ..own },
    ];
    for other in others {
        assert_ne!(id_of("build", "processor", 1, &other), own_id, "{other:?}");
    }
    for (build, processor, lane) in [("other", "processor", 1), ("build", "other", 1), ("build", "processor", 2)] {
        assert_ne!(id_of(build, processor, lane, &own), own_id, "{build} {processor} {lane}");
    }
}

/// SplitMix64: the same numbers forever.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) % n as u64) as usize
    }
}

fn digest(texts: impl IntoIterator<Item = String>) -> String {
    Digest::of(texts.into_iter().collect::<Vec<_>>().join("\n").as_bytes()).id()
}

fn rows(rows: &[Row]) -> String {
    let row = |row: &Row| format!("{} {} {:?} {:?}", row.token, row.depth, row.sequences, row.logits);
    rows.iter().map(row).collect::<Vec<_>>().join(", ")
}

#[test]
fn another_plan_is_another_version_of_the_lane() {
    let mut random = Random(1);
    let mut plans = vec![format!("{DEFAULT_BATCH} {MAX_BRANCHES} {MAX_ROWS} {UNREAD}")];
    for _ in 0..64 {
        let n_tokens = 1 + random.below(1500);
        plans.push(format!("{:?}", chunks(n_tokens, random.below(n_tokens + 1), DEFAULT_BATCH as usize)));
        let path = |random: &mut Random| (0..1 + random.below(6)).map(|_| random.below(5) as Token).collect::<Vec<_>>();
        let paths: Vec<Vec<Token>> =
            (0..1 + random.below(150)).map(|_| [path(&mut random), vec![99]].concat()).collect();
        let trie = Trie::new(&paths);
        for wave in trie.waves(1 + random.below(MAX_ROWS)) {
            plans.push(wave.n_sequences.to_string());
            plans.extend(wave.batches.iter().map(|batch| rows(batch)));
        }
        plans.extend(trie.branches().iter().map(|branch| rows(branch)));
        let of_nodes: Vec<f64> = (0..trie.len()).map(|_| -(random.below(1000) as f64)).collect();
        plans.push(format!("{:?}", trie.path_logprobs(&of_nodes, &vec![0; paths.len()])));
        let n_cells = 20 + random.below(400);
        plans.push(searched(&mut random, &paths, Extent::BestFirst, n_cells));
        plans.push(searched(&mut random, &paths, Extent::Exact, n_cells));
        let logits: Vec<f32> = (0..1 + random.below(300)).map(|_| random.below(4000) as f32 / 100.0).collect();
        // As exact as every C library is.
        let rounded = logprobs(&logits, 0..logits.len() as Token).into_iter().map(|x| (x * 1e9).round() as i64);
        plans.push(format!("{:?}", rounded.collect::<Vec<_>>()));
    }
    assert_eq!(
        (LANE, digest(plans).as_str()),
        PLANS_OF_VERSION,
        "questions are evaluated in another way: raise LANE, then record it with its digest in PLANS_OF_VERSION"
    );
}

/// The steps in which a question's choices are read, where the ways' probabilities are powers of a half.
fn searched(random: &mut Random, paths: &[Vec<Token>], extent: Extent, n_cells: usize) -> String {
    let mut paths = paths.to_vec();
    paths.sort();
    paths.dedup();
    let n = paths.len();
    let candidates = Candidates::new(&paths, vec![GroupShape::of(n)], vec![0; n], Reading::Choices);
    let mut search = Search::new(&candidates, extent, n_cells);
    let mut plan = Vec::new();
    let mut read = |search: &mut Search<'_>, node: usize| {
        let logprobs: Vec<f64> =
            candidates.trie.children(node).map(|_| -(random.below(9) as f64) * std::f64::consts::LN_2).collect();
        search.read(node, logprobs);
    };
    if search.reads_root() {
        read(&mut search, 0);
    }
    while let Some(step) = search.next_step().unwrap() {
        plan.push(format!("{} {:?} {}", step.restarts, step.branches, rows(&step.rows)));
        for row in step.rows.iter().filter(|row| row.logits == Logits::Read) {
            read(&mut search, row.node);
        }
    }
    plan.join("; ")
}

/// A question of `n` words, half of them instructions, with one answer for each label.
fn question(n: usize, labels: Vec<String>, reading: Reading) -> ScoreRequest {
    const WORDS: [&str; 8] = ["refund", "parcel", "login", "order", "late", "invoice", "twice", "court"];
    let text: String = (0..n).map(|i| format!("{} ", WORDS[(i * 7 + i * i) % WORDS.len()])).collect();
    let row_start = Some(RunOffset { run: 0, offset: text.len() / 2 });
    let group = Group::new("queue:", labels);
    ScoreRequest {
        reading,
        ..ScoreRequest::new(
            Prompt { runs: vec![Run::Text { text, persons: vec![] }], row_start, row: None },
            vec![group],
        )
    }
}

#[test]
fn under_a_recorded_id_are_the_recorded_bits() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Modelfiles/triage/triage.gguf");
    let weights_id = Digest::of(&std::fs::read(&path).unwrap()).to_string();
    let options = Options {
        weights: Weights::File(path),
        weights_id,
        load: Load::Everything,
        n_ctx: Some(1024),
        compute: Compute { n_threads: Some(1), ..Compute::default() },
        footprint: Footprint::default(),
    };
    let engine = Engine::load(options).unwrap();
    let few = || ["billing", "shipping", "account access"].map(str::to_owned).to_vec();
    let many = (0..90).map(|i| format!("label {i} of many")).collect::<Vec<_>>();
    let of = |reading| {
        let few = [3, 40, 70, 130, 250].map(|n| question(n, few(), reading));
        few.into_iter().chain([question(20, many.clone(), reading)])
    };
    let questions = of(Reading::Choices).chain(of(Reading::Likelihood));
    let groups = questions.flat_map(|asked| engine.score(asked).unwrap().groups);
    let bits = groups.flat_map(|group| group.logprobs).map(|x| format!("{x:?}"));
    let (id, found) = (engine.info().evaluation_id.clone(), digest(bits));
    match BITS_OF_IDS.iter().find(|(known, _)| *known == id) {
        Some((_, recorded)) => assert_eq!(found, *recorded, "probabilities have other bits: raise LANE"),
        None => slm_testing::skipped!(
            "nothing is recorded under this machine's evaluation id; it would be (\"{id}\", \"{found}\")"
        ),
    }
}
