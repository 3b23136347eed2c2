//! The generation lane: one context with a unified KV cache, in which many requests run at once.
//!
//! Each step is `plan -> decode -> read -> commit`: the scheduler says what is evaluated, the requests' own state says what
//! the rows mean. Generations and, where a caller trades canonical evaluation for rows per second, closed questions share
//! the batches.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::token::LlamaToken;

use super::super::cache::{Effect, Reuse};
use super::super::caller::Caller;
use super::super::scheduler::{Job, JobId, Limits, Outcome, Part, Phase, Scheduler, Step, Work};
use super::super::scoring::{MAX_BRANCHES, MAX_ROWS};
use super::super::speculation::Costs;
use super::super::{AdapterSet, DEFAULT_CONTEXT, EngineError};
use super::adapters::{Adapters, Applied};
use super::branching::{BranchPlan, Branching};
use super::generating::{Generating, GenerationPlan, Read};
use super::{LEAST_BATCH, Model, PrefixReuse, decode, failed};

/// Requests that run at once.
const N_RUNNING: usize = 32;
/// Requests that run at once where each reserves a whole recurrent state.
const N_RUNNING_RECURRENT: usize = 4;
/// Finished requests whose evaluated text is kept for others that begin in the same way, as long as there are cells.
const N_CACHED: usize = 32;
/// Cancelling works between decodes, so none is planned to take longer than about this.
const STEP: Duration = Duration::from_millis(800);
/// A smaller prefill chunk than this wastes the machine.
const MIN_CHUNK: usize = 64;
/// What a processor is assumed to do before it was measured, in floating-point operations a second.
const ASSUMED_FLOPS: f64 = 1e11;

pub struct GenerationLane<'m> {
    model: &'m Model,
    context: LlamaContext<'m>,
    batch: LlamaBatch<'m>,
    scheduler: Scheduler,
    active: HashMap<JobId, Active>,
    next_id: JobId,
    /// The sets of adapters that requests came with; the scheduler knows them by their places.
    groups: Vec<AdapterSet>,
    applied: Applied<'m>,
    /// Seconds of a row in large decodes, as measured.
    row_seconds: f64,
    costs: Costs,
}

enum Active {
    Generation(Box<Generating>),
    Branches(Box<Branching>),
}

impl Active {
    fn caller(&self) -> &Caller {
        match self {
            Active::Generation(generating) => generating.caller(),
            Active::Branches(branching) => branching.caller(),
        }
    }

    fn start(&mut self, n_reused: usize, phase: Phase) {
        match self {
            Active::Generation(generating) => generating.start(n_reused),
            Active::Branches(branching) => branching.start(n_reused, phase),
        }
    }

    fn fail(self, error: EngineError) {
        match self {
            Active::Generation(generating) => generating.fail(error),
            Active::Branches(branching) => branching.fail(error),
        }
    }
}

impl<'m> GenerationLane<'m> {
    /// Makes the lane's context.
    ///
    /// # Errors
    /// llama.cpp refuses it.
    pub fn new(model: &'m Model) -> Result<Self, EngineError> {
        let limits = limits(model);
        let n_sequences = u32::try_from(limits.n_slots + limits.n_branches).expect("small constants");
        let shape = LlamaContextParams::default().with_kv_unified(true).with_n_seq_max(n_sequences).with_swa_full(true);
        let context = model.context(shape, u32::try_from(limits.n_cells).unwrap_or(u32::MAX))?;
        let n_rows = model.info().compute.batches().0.max(LEAST_BATCH) as usize;
        let batch = LlamaBatch::new(n_rows, i32::try_from(n_sequences).expect("small constants"));
        Ok(GenerationLane {
            model,
            context,
            batch,
            scheduler: Scheduler::new(limits),
            active: HashMap::new(),
            next_id: 0,
            groups: Vec::new(),
            applied: Applied::default(),
            row_seconds: 2.0 * model.info.n_params as f64 / ASSUMED_FLOPS,
            costs: Costs::default(),
        })
    }

    /// Whether nothing is left to do.
    pub fn is_idle(&self) -> bool {
        self.active.is_empty()
    }

    /// Takes a generation in.
    pub fn generate(&mut self, prepared: GenerationPlan, caller: Caller) {
        let (tokens, limit) = (prepared.tokens.clone(), prepared.limit);
        let group = self.group(&prepared.adapters);
        let generating = Generating::new(self.model, prepared, caller);
        self.submit(Active::Generation(Box::new(generating)), group, tokens, Work::Generate { limit });
    }

    /// Takes closed questions in.
    pub fn branch(&mut self, prepared: BranchPlan, caller: Caller) {
        let (tokens, packs) = (prepared.tokens.clone(), prepared.packs());
        let group = self.group(&prepared.adapters);
        let branching = Branching::new(prepared, caller);
        self.submit(Active::Branches(Box::new(branching)), group, tokens, Work::Branch { packs });
    }

    /// The number of a set, which it keeps: cached text is known by it.
    fn group(&mut self, adapters: &AdapterSet) -> u32 {
        let known = self.groups.iter().position(|known| known == adapters);
        let at = known.unwrap_or_else(|| {
            self.groups.push(adapters.clone());
            self.groups.len() - 1
        });
        u32::try_from(at).expect("fewer sets of adapters than any memory holds")
    }

    fn submit(&mut self, active: Active, group: u32, tokens: Vec<i32>, work: Work) {
        self.next_id += 1;
        self.active.insert(self.next_id, active);
        self.scheduler.submit(Job { id: self.next_id, group, tokens, work });
    }

    /// One decode for the requests that are in it; cancelled requests are dropped first.
    pub fn step(&mut self, adapters: &mut Adapters<'m>) {
        self.drop_cancelled();
        if self.is_idle() {
            return;
        }
        let is_whole = |slot: usize| {
            self.model.prefix_reuse != PrefixReuse::WhileWhole
                || self.context.kv_cache_seq_pos_min(i32::try_from(slot).expect("a small constant")) == 0
        };
        let step = self.scheduler.plan(self.n_batch(), &is_whole);
        for part in &step.parts {
            let n_reused = self.scheduler.n_reused(part.id);
            if let Some(active) = self.active.get_mut(&part.id) {
                active.start(n_reused, part.phase);
            }
        }
        match self.execute(&step, adapters) {
            Ok(()) => self.read(&step),
            Err(error) => {
                for id in self.scheduler.fail(&step) {
                    self.end(id, |active| active.fail(error.clone()));
                }
            }
        }
        for branch in step.branches.clone() {
            self.truncate(branch, 0);
        }
    }

    fn drop_cancelled(&mut self) {
        let gone: Vec<JobId> =
            self.active.iter().filter(|(_, active)| active.caller().check().is_err()).map(|(&id, _)| id).collect();
        for id in gone {
            self.scheduler.cancel(id);
            self.end(id, |active| active.fail(EngineError::Cancelled));
        }
    }

    fn end(&mut self, id: JobId, how: impl FnOnce(Active)) {
        if let Some(active) = self.active.remove(&id) {
            how(active);
        }
    }

    /// Rows that a step may have to take about [`STEP`].
    fn n_batch(&self) -> usize {
        let most = self.model.info().compute.batches().0 as usize;
        if let Some(n_rows) = self.scheduler.n_decode_rows() {
            return self.costs.best_step(n_rows).min(most);
        }
        let rows = STEP.as_secs_f64() / self.row_seconds.max(1e-9);
        (rows as usize).max(MIN_CHUNK).min(most)
    }

    fn execute(&mut self, step: &Step, adapters: &mut Adapters<'m>) -> Result<(), EngineError> {
        for &effect in &step.effects {
            match effect {
                Effect::Truncate { slot, from } => self.truncate(slot, from),
                Effect::Copy { from, to, n } => self.copy(from, to, n)?,
            }
        }
        if step.rows.is_empty() {
            return Ok(());
        }
        adapters.apply(&mut self.context, &mut self.applied, &self.groups[step.group as usize])?;
        self.batch.clear();
        for row in &step.rows {
            let position = i32::try_from(row.position).map_err(|_| failed("a position beyond the context"))?;
            let sequences: Vec<i32> = row.sequences.iter().filter_map(|&s| i32::try_from(s).ok()).collect();
            self.batch
                .add(LlamaToken(row.token), position, &sequences, row.is_read)
                .map_err(|error| failed(&error.to_string()))?;
        }
        let started = Instant::now();
        decode(&mut self.context, &mut self.batch)?;
        if step.rows.iter().any(|row| row.is_read) {
            self.context.synchronize();
        }
        self.learn(step, started.elapsed());
        Ok(())
    }

    /// Notes what the decode took, for the size of chunks and the price of drafts.
    fn learn(&mut self, step: &Step, took: Duration) {
        let n_rows = step.rows.len();
        if n_rows >= MIN_CHUNK {
            self.row_seconds = (self.row_seconds + took.as_secs_f64() / n_rows as f64) / 2.0;
        }
        if step.parts.iter().all(|part| matches!(part.phase, Phase::Decode { .. })) {
            self.costs.learn(n_rows, took);
        }
    }

    /// Gives every request its rows, and the scheduler what came of them.
    fn read(&mut self, step: &Step) {
        let mut outcomes = Vec::new();
        let mut finished = Vec::new();
        let mut broken = Vec::new();
        let n_decoding = step.parts.iter().filter(|part| matches!(part.phase, Phase::Decode { .. })).count();
        for part in &step.parts {
            match self.read_part(step, part, n_decoding) {
                Ok(Some(Read { outcome, finish })) => {
                    outcomes.push((part.id, outcome));
                    finished.extend(finish.map(|finish| (part.id, finish)));
                }
                Ok(None) => {}
                Err(error) => {
                    outcomes.push((part.id, Outcome::Finished { n_accepted: 0 }));
                    broken.push((part.id, error));
                }
            }
        }
        let ended = self.scheduler.commit(step, outcomes);
        for (id, error) in broken {
            self.scheduler.cancel(id);
            self.end(id, |active| active.fail(error));
        }
        for (id, finish) in finished {
            self.end(id, |active| {
                if let Active::Generation(generating) = active {
                    generating.end(finish);
                }
            });
        }
        for id in ended {
            self.end(id, |active| {
                if let Active::Branches(branching) = active {
                    branching.end();
                }
            });
        }
    }

    fn read_part(&mut self, step: &Step, part: &Part, n_decoding: usize) -> Result<Option<Read>, EngineError> {
        let context = &self.context;
        let read = part.rows.clone().filter(|&row| step.rows[row].is_read).map(|row| logits(context, row));
        match (self.active.get_mut(&part.id), part.phase) {
            (Some(Active::Generation(generating)), phase) => {
                let n_draft = if let Phase::Decode { n_draft } = phase { n_draft } else { 0 };
                let rows = &step.rows[part.rows.clone()];
                if !rows.iter().any(|row| row.is_read) {
                    return Ok(None);
                }
                let draft: Vec<i32> = rows[rows.len() - n_draft..].iter().map(|row| row.token).collect();
                generating.read(self.model, read, &draft, &self.costs, n_decoding).map(Some)
            }
            (Some(Active::Branches(branching)), Phase::Branch { pack }) => branching.read(pack, read).map(|()| None),
            _ => Ok(None),
        }
    }

    fn truncate(&mut self, slot: usize, from: usize) {
        let (slot, from) = (u32::try_from(slot).ok(), u32::try_from(from).ok());
        let removed = self.context.clear_kv_cache_seq(slot, from, None);
        // A recurrent state cannot lose its end: all of it goes, and only with its request.
        if removed.is_ok_and(|removed| !removed) {
            let _ = self.context.clear_kv_cache_seq(slot, None, None);
        }
    }

    fn copy(&mut self, from: usize, to: usize, n: usize) -> Result<(), EngineError> {
        let (from, to) = (i32::try_from(from).unwrap_or(0), i32::try_from(to).unwrap_or(0));
        let n = u32::try_from(n).ok();
        self.context.copy_kv_cache_seq(from, to, None, n).map_err(|error| failed(&error.to_string()))
    }
}

fn logits<'l>(context: &'l LlamaContext<'_>, row: usize) -> &'l [f32] {
    context.get_logits_ith(i32::try_from(row).expect("rows of one batch"))
}

/// What the lane's context is made for.
pub fn limits(model: &Model) -> Limits {
    let n_ctx = model.info.n_ctx as usize;
    let is_recurrent = model.prefix_reuse == PrefixReuse::Never;
    let n_running = if is_recurrent { N_RUNNING_RECURRENT } else { N_RUNNING };
    Limits {
        n_running,
        n_slots: if is_recurrent { n_running } else { n_running + N_CACHED },
        n_branches: if is_recurrent { 0 } else { MAX_BRANCHES },
        n_cells: n_cells(n_ctx, n_running),
        n_read: MAX_ROWS,
        reuse: match model.prefix_reuse {
            PrefixReuse::Exact => Reuse::Prefix,
            PrefixReuse::WhileWhole => Reuse::WhileWhole,
            PrefixReuse::Never => Reuse::Never,
        },
    }
}

/// Cells that all requests share: a small context of one is not a reason to run few at once.
fn n_cells(n_ctx: usize, n_running: usize) -> usize {
    n_ctx.max((n_ctx * n_running).min(DEFAULT_CONTEXT as usize))
}
