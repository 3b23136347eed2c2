//! The contexts of one model, and which of them a request goes to.

use super::super::caller::Caller;
use super::super::{Embeddings, EngineError, Event, Load, Measure, Measured, PromptLogprobs, Scores};
use super::adapters::Adapters;
use super::embedding_lane::{EmbeddingLane, TokenizedTexts};
use super::generation::GenerationLane;
use super::measure::MeasureLane;
use super::model::Model;
use super::prepare::{Alone, LaneWork};
use super::product::{self, Multiplier};
use super::question::Question;
use super::score_lane::{PromptPlan, ScoreLane};
use super::{failed, kernels};

/// The contexts of one model, each made when the first request needs it.
pub struct Lanes<'m> {
    model: &'m Model,
    adapters: Adapters<'m>,
    score: Option<ScoreLane<'m>>,
    generation: Option<GenerationLane<'m>>,
    embedding: Option<EmbeddingLane<'m>>,
    measure: Option<MeasureLane<'m>>,
}

impl<'m> Lanes<'m> {
    /// The lanes of a model; their contexts are made on first use.
    pub fn new(model: &'m Model) -> Self {
        Lanes { model, adapters: Adapters::new(model), score: None, generation: None, embedding: None, measure: None }
    }

    /// Scores a question in the score lane.
    ///
    /// # Errors
    /// As [`ScoreLane::score`].
    fn score(&mut self, question: &Question, caller: &Caller) -> Result<Scores, EngineError> {
        made(&mut self.score, self.model)?.score(question, &mut self.adapters, caller)
    }

    /// Reads a prompt's own tokens in the score lane.
    ///
    /// # Errors
    /// As [`ScoreLane::read_prompt`].
    fn read_prompt(&mut self, plan: &PromptPlan, caller: &Caller) -> Result<PromptLogprobs, EngineError> {
        made(&mut self.score, self.model)?.read_prompt(plan, &mut self.adapters, caller)
    }

    /// Times decodes in a context that is kept while measurements of one kind come.
    pub fn measure(&mut self, measure: &Measure, caller: &Caller) -> Result<Measured, EngineError> {
        if let Measure::Product { n_tokens } = *measure {
            return self.product(n_tokens);
        }
        let lane = match self.measure.take() {
            Some(lane) if lane.serves(measure) => lane,
            // The old context goes before there is a new one.
            old => {
                drop(old);
                MeasureLane::new(self.model, measure)?
            }
        };
        self.measure.insert(lane).run(measure, caller)
    }

    fn product(&self, n_tokens: u32) -> Result<Measured, EngineError> {
        let info = self.model.info();
        let matrix = info.footprint.matrix.ok_or_else(|| failed("the model has no matrices"))?;
        let multiplier = match self.model.gpus.first() {
            Some(&gpu) => Multiplier::Gpu(gpu),
            None => Multiplier::Processor { n_threads: info.n_threads, layout: kernels::layout() },
        };
        let elapsed = product::time(&matrix, n_tokens, multiplier)?;
        Ok(Measured { n_tokens, elapsed })
    }

    /// Answers what is evaluated alone.
    ///
    /// # Errors
    /// As the lanes.
    pub fn answer(&mut self, work: &Alone, caller: &Caller) -> Result<Event, EngineError> {
        match work {
            Alone::Question(question) => self.score(question, caller).map(Event::Scored),
            Alone::Prompt(plan) => self.read_prompt(plan, caller).map(Event::PromptLogprobs),
            Alone::Embedding(texts) => self.embed(texts, caller).map(Event::Embedded),
        }
    }

    fn embed(&mut self, texts: &TokenizedTexts, caller: &Caller) -> Result<Embeddings, EngineError> {
        if self.model.load == Load::Vocabulary {
            return Err(EngineError::VocabularyOnly);
        }
        let lane = self.embedding.get_or_insert_with(|| EmbeddingLane::new(self.model));
        lane.embed(texts, &mut self.adapters, caller)
    }

    /// Takes work into the generation lane; an error is the caller's.
    pub fn submit(&mut self, work: LaneWork, caller: Caller) {
        let work = match work {
            LaneWork::Measure(measure) => {
                let measured = self.measure(&measure, &caller).map(Event::Measured);
                return caller.send(measured.unwrap_or_else(Event::Failed));
            }
            other => other,
        };
        // A wrong adapter fails only the request that names it.
        if let Some(Err(error)) = work.adapters().map(|adapters| self.adapters.load(adapters)) {
            return caller.send(Event::Failed(error));
        }
        if let LaneWork::Adapters(_) = work {
            return caller.send(Event::Prepared);
        }
        if self.generation.is_none() {
            match GenerationLane::new(self.model) {
                Ok(lane) => self.generation = Some(lane),
                Err(error) => return caller.send(Event::Failed(error)),
            }
        }
        let lane = self.generation.as_mut().expect("made above");
        match work {
            LaneWork::Generation(prepared) => lane.generate(*prepared, caller),
            LaneWork::Branches(prepared) => lane.branch(*prepared, caller),
            LaneWork::Alone(_) | LaneWork::Adapters(_) | LaneWork::Measure(_) => {
                unreachable!("these go to other lanes, or to none")
            }
        }
    }

    /// Whether the generation lane has nothing to do.
    pub fn is_idle(&self) -> bool {
        self.generation.as_ref().is_none_or(GenerationLane::is_idle)
    }

    /// One decode of the generation lane.
    pub fn step(&mut self) {
        if let Some(lane) = &mut self.generation {
            lane.step(&mut self.adapters);
        }
    }
}

/// The score lane, whose context is made on first use.
fn made<'l, 'm>(lane: &'l mut Option<ScoreLane<'m>>, model: &'m Model) -> Result<&'l mut ScoreLane<'m>, EngineError> {
    if lane.is_none() {
        *lane = Some(ScoreLane::new(model)?);
    }
    Ok(lane.as_mut().expect("made above"))
}
