//! How fast a loaded model is, and how fast this machine could be: raw decodes, rows through the whole path, memory, and
//! the ceilings that they are held against. It measures and does not print.

pub mod bandwidth;
pub mod compare;
pub mod report;
mod rows;
pub mod text;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::contract::{Contract, Form};
use crate::engine::{self, Counts, EngineError, Measure, Measured, Pass, memory};
use crate::infer::{Cancel, InferError, Reply, Session, Turn, wait};
use crate::sampling::Parameters;
use report::{Ceiling, Decode, FORM, Memory, Model, Prefill, Report, Rows, Setting, Spread};

/// Tokens that an extracted record may take at most.
const RECORD_TOKENS: i32 = 256;

/// What is measured, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub n_repetitions: u32,
    /// Lengths of prompts.
    pub prefill: Vec<u32>,
    /// Steps of a decode of one sequence.
    pub n_steps: u32,
    /// Sequences that are decoded at once.
    pub sequences: Vec<u32>,
    /// Rows of each repetition; 0 leaves them out.
    pub n_rows: u32,
    /// Records in flight.
    pub n_parallel: u32,
    pub ceiling: CeilingPlan,
}

/// Whether the machine's own speed is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CeilingPlan {
    Measure,
    LeaveOut,
}

impl Default for Plan {
    fn default() -> Self {
        Plan {
            n_repetitions: 5,
            prefill: vec![32, 128, 512],
            n_steps: 128,
            sequences: vec![1, 2, 4, 8, 16],
            n_rows: 8,
            n_parallel: 16,
            ceiling: CeilingPlan::Measure,
        }
    }
}

impl Plan {
    /// A plan of seconds: the same kinds of figures from less work.
    #[must_use]
    pub fn quick() -> Plan {
        Plan {
            n_repetitions: 2,
            prefill: vec![128],
            n_steps: 16,
            sequences: vec![1, 8],
            n_rows: 2,
            n_parallel: 2,
            ceiling: CeilingPlan::Measure,
        }
    }

    /// The steps of a decode of several sequences: with more sequences fewer, for each takes longer.
    fn steps(&self, n_sequences: u32) -> u32 {
        if n_sequences == 1 { self.n_steps } else { (self.n_steps / 4).max(1) }
    }

    /// How many times `on_step` is called.
    #[must_use]
    pub fn n_steps_of_progress(&self) -> u32 {
        let raw = self.prefill.len() + self.sequences.len();
        let rows = if self.n_rows > 0 { 2 } else { 0 };
        u32::try_from(raw + rows).unwrap_or(u32::MAX) + u32::from(self.ceiling == CeilingPlan::Measure)
    }
}

/// A model to measure.
#[derive(Debug, Clone)]
pub struct Subject<'a> {
    pub session: &'a Session,
    pub name: &'a str,
    pub digest: &'a str,
    /// The model's own contract, for the scored rows.
    pub contract: Option<Arc<Contract>>,
}

/// Measures according to the plan; `on_step` gets the name of the next step.
///
/// # Errors
/// The engine fails, for want of memory for example.
pub fn run(subject: &Subject<'_>, plan: &Plan, mut on_step: impl FnMut(&str)) -> Result<Report, InferError> {
    let engine = subject.session.engine();
    let mut prefill = Vec::new();
    for &n_tokens in &plan.prefill {
        on_step(&format!("prefill, {n_tokens} tokens"));
        let measure = Measure::Prefill { n_tokens };
        engine.measure(measure)?;
        prefill.push(Prefill { n_tokens, tokens_per_second: repeat(plan, || engine.measure(measure))? });
    }
    let mut decode = Vec::new();
    for &n_sequences in &plan.sequences {
        on_step(&format!("decode, {n_sequences} at once"));
        let n_tokens = plan.steps(n_sequences);
        let measure = |pass| engine.measure(Measure::Decode { n_tokens, n_sequences, pass });
        measure(Pass::WarmUp)?;
        let tokens_per_second = repeat(plan, || measure(Pass::Whole))?;
        decode.push(Decode { n_sequences, n_steps: n_tokens, tokens_per_second });
    }
    let ceiling = match plan.ceiling {
        CeilingPlan::Measure => {
            on_step("what the machine can do");
            Some(ceiling(subject))
        }
        CeilingPlan::LeaveOut => None,
    };
    let (mut scored, mut extracted) = (None, None);
    if plan.n_rows > 0 {
        on_step("scored rows");
        scored = Some(score(subject, plan)?);
        on_step("extracted records");
        extracted = Some(extract(subject, plan)?);
    }
    let memory = memory(subject);
    Ok(Report {
        form: FORM,
        model: model(subject),
        setting: setting(subject),
        prefill,
        decode,
        scored,
        extracted,
        memory,
        ceiling,
    })
}

fn repeat(plan: &Plan, once: impl Fn() -> Result<Measured, EngineError>) -> Result<Spread, EngineError> {
    let speed = |measured: Measured| f64::from(measured.n_tokens) / measured.elapsed.as_secs_f64();
    let runs: Result<Vec<f64>, _> = (0..plan.n_repetitions.max(1)).map(|_| once().map(speed)).collect();
    runs.map(Spread::of)
}

/// Rows one after the other, as they are scored; the first two make the prefix ready that the others share.
fn score(subject: &Subject<'_>, plan: &Plan) -> Result<Rows, InferError> {
    let form = Form::Closed(subject.contract.clone().unwrap_or_else(rows::closed));
    let mut counts = Vec::new();
    let mut number = 0;
    let mut next = || -> Result<Counts, InferError> {
        number += 1;
        counts_of(subject.session.ask(Turn { form: form.clone(), ..Turn::to_text(None, &rows::text(number)) })?)
    };
    next()?;
    next()?;
    let speed = row_repetitions(plan, || {
        (0..plan.n_rows).try_for_each(|_| {
            counts.push(next()?);
            Ok(())
        })
    })?;
    Ok(of_rows(plan, 1, speed, &counts))
}

/// Records, several in flight, held to a schema.
fn extract(subject: &Subject<'_>, plan: &Plan) -> Result<Rows, InferError> {
    let form = rows::record();
    // The same for every model, whatever its Modelfile's format.
    let parameters = Parameters { temperature: Some(0.0), num_predict: Some(RECORD_TOKENS), ..Parameters::default() };
    let start = |number: usize| {
        let (form, parameters) = (form.clone(), parameters.clone());
        let turn = Turn { form, parameters, ..Turn::to_text(Some(rows::INSTRUCTION), &rows::text(number)) };
        subject.session.ask(turn)
    };
    let mut counts = Vec::new();
    let mut number = 0;
    let mut some = |n_rows: u32, counts: &mut Vec<Counts>| -> Result<(), InferError> {
        let mut running = VecDeque::new();
        let mut left = n_rows;
        while left > 0 || !running.is_empty() {
            while left > 0 && running.len() < plan.n_parallel.max(1) as usize {
                number += 1;
                left -= 1;
                running.push_back(start(number)?);
            }
            if let Some(reply) = running.pop_front() {
                counts.push(counts_of(reply)?);
            }
        }
        Ok(())
    };
    some(1, &mut Vec::new())?;
    let speed = row_repetitions(plan, || some(plan.n_rows, &mut counts))?;
    Ok(of_rows(plan, plan.n_parallel, speed, &counts))
}

/// What a reply took.
fn counts_of(reply: Reply) -> Result<Counts, InferError> {
    Ok(wait(reply.whole(), &Cancel::default())?.end.counts)
}

/// Rows cost more than raw decodes, and vary less: three repetitions are enough.
fn row_repetitions(plan: &Plan, mut once: impl FnMut() -> Result<(), InferError>) -> Result<Spread, InferError> {
    let mut runs = Vec::new();
    for _ in 0..plan.n_repetitions.clamp(1, 3) {
        let started = Instant::now();
        once()?;
        runs.push(f64::from(plan.n_rows) / started.elapsed().as_secs_f64());
    }
    Ok(Spread::of(runs))
}

fn of_rows(plan: &Plan, n_parallel: u32, rows_per_second: Spread, counts: &[Counts]) -> Rows {
    let mean = |of: fn(&Counts) -> usize| counts.iter().map(of).sum::<usize>() as f64 / counts.len().max(1) as f64;
    Rows {
        n_rows: plan.n_rows,
        n_parallel,
        rows_per_second,
        prompt_tokens: mean(|counts| counts.prompt),
        reused_tokens: mean(|counts| counts.reused),
        answer_tokens: mean(|counts| counts.branch + counts.generated),
    }
}

fn ceiling(subject: &Subject<'_>) -> Ceiling {
    let info = subject.session.engine().info();
    // Memory of a device is read by the device: what the processor's reads give says nothing about it.
    let streamed = (info.n_gpu_layers == 0 && info.footprint.read > 0)
        .then(|| bandwidth::stream(info.footprint.read, info.n_threads));
    let n_rows = info.compute.batches().1;
    // A type that ggml multiplies only within a model has no ceiling of its own.
    let product = subject.session.engine().measure(Measure::Product { n_tokens: n_rows }).ok();
    let product = product.zip(info.footprint.matrix);
    Ceiling {
        read_bytes_per_second: streamed.map(|streamed| streamed.bytes_per_second),
        read_over_bytes: streamed.map(|streamed| streamed.n_bytes),
        product_flops: product.map(|(measured, matrix)| {
            let flop = 2.0 * matrix.n_in as f64 * matrix.n_out as f64 * f64::from(n_rows);
            flop / measured.elapsed.as_secs_f64()
        }),
        product_of: product.map(|(_, matrix)| format!("{} {}x{}", matrix.kind.name, matrix.n_in, matrix.n_out)),
    }
}

fn model(subject: &Subject<'_>) -> Model {
    let info = subject.session.engine().info();
    Model {
        name: subject.name.to_owned(),
        digest: subject.digest.to_owned(),
        n_parameters: info.n_params,
        weights_bytes: info.size_bytes,
        read_bytes: info.footprint.read,
        n_multiplied: info.footprint.multiplied,
    }
}

fn memory(subject: &Subject<'_>) -> Memory {
    let info = subject.session.engine().info();
    Memory { peak_resident_bytes: memory::peak(), kv_bytes: info.kv_bytes, n_ctx: info.n_ctx }
}

fn setting(subject: &Subject<'_>) -> Setting {
    let info = subject.session.engine().info();
    let build = engine::build();
    let (n_batch, n_ubatch) = info.compute.batches();
    Setting {
        slm: build.version.to_owned(),
        llama_cpp: build.llama_cpp.to_owned(),
        build_id: build.id.to_owned(),
        processor: engine::processor(),
        devices: info.devices.clone(),
        n_gpu_layers: info.n_gpu_layers,
        n_threads: info.n_threads,
        kv_type: info.compute.kv_type.to_string(),
        flash_attention: info.compute.flash_attention.to_string(),
        kernels: info.compute.kernels.to_string(),
        n_batch,
        n_ubatch,
    }
}
