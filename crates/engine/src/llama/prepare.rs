//! Requests to what the lanes evaluate: tokens, tries and compiled grammars, everything checked that can be before the first
//! decode. Runs beside the decoding thread and evaluates nothing.

use super::super::scoring::{Candidates, GroupShape};
use super::super::{
    AdapterSet, Counts, EngineError, Event, Finish, GenerateRequest, GeneratedToken, Generation, Lane, Load, Measure,
    ProbeRequest, PromptLogprobsRequest, Reading, Request, ScoreRequest, Timings, Token,
};
use super::branching::{BranchPlan, BranchPoint};
use super::embedding_lane::TokenizedTexts;
use super::generating::GenerationPlan;
use super::question::Question;
use super::score_lane::PromptPlan;
use super::{Model, PrefixReuse, failed};
use slm_values::gguf::Pooling;

/// A request that was prepared.
pub enum Preparation {
    /// Nothing is to be evaluated.
    Answer(Event),
    Work(LaneWork),
}

/// What a lane can start with.
pub enum LaneWork {
    Alone(Alone),
    Generation(Box<GenerationPlan>),
    Branches(Box<BranchPlan>),
    /// Nothing to evaluate yet: adapters to load.
    Adapters(AdapterSet),
    Measure(Measure),
}

/// What is evaluated by itself, one after the other, between the steps of the generation lane.
pub enum Alone {
    Question(Box<Question>),
    Prompt(Box<PromptPlan>),
    Embedding(Box<TokenizedTexts>),
}

impl LaneWork {
    /// The adapters that it is evaluated with.
    pub fn adapters(&self) -> Option<&AdapterSet> {
        match self {
            LaneWork::Alone(Alone::Question(question)) => Some(&question.adapters),
            LaneWork::Alone(Alone::Prompt(plan)) => Some(&plan.adapters),
            LaneWork::Alone(Alone::Embedding(texts)) => Some(&texts.adapters),
            LaneWork::Generation(prepared) => Some(&prepared.adapters),
            LaneWork::Branches(prepared) => Some(&prepared.adapters),
            LaneWork::Adapters(adapters) => Some(adapters),
            LaneWork::Measure(_) => None,
        }
    }
}

impl Model {
    /// Prepares a request.
    ///
    /// # Errors
    /// What can be known to be wrong before anything is evaluated.
    pub fn prepare(&self, request: Request) -> Result<Preparation, EngineError> {
        // llama.cpp computes no logits for encoders; reading them would read nothing.
        let reads_logits = matches!(
            request,
            Request::Score(_) | Request::PromptLogprobs(_) | Request::Generate(_) | Request::Probe(_)
        );
        if reads_logits && Pooling::is_encoder(&self.architecture) {
            return Err(EngineError::NoText(self.architecture.clone()));
        }
        match request {
            Request::Tokenize(prompt) => Ok(Preparation::Answer(Event::Tokenized(self.tokenizer().describe(&prompt)?))),
            Request::Cut { text, n_tokens } => {
                Ok(Preparation::Answer(Event::Cut(self.tokenizer().cut(&text, n_tokens))))
            }
            Request::Prepare(_) if self.load == Load::Vocabulary => Err(EngineError::VocabularyOnly),
            Request::Prepare(adapters) => Ok(Preparation::Work(LaneWork::Adapters(adapters))),
            Request::Score(request) => self.question(&request).map(Preparation::Work),
            Request::PromptLogprobs(request) => {
                let plan = self.prompt_plan(request)?;
                Ok(Preparation::Work(LaneWork::Alone(Alone::Prompt(Box::new(plan)))))
            }
            Request::Embed(request) => self
                .embedding(request)
                .map(|ready| Preparation::Work(LaneWork::Alone(Alone::Embedding(Box::new(ready))))),
            Request::Measure(measure) => Ok(Preparation::Work(LaneWork::Measure(measure))),
            Request::Generate(request) => self.generation(request).map(|ready| {
                if ready.limit > ready.tokens.len() {
                    return Preparation::Work(LaneWork::Generation(Box::new(ready)));
                }
                // No token is wanted.
                let counts = Counts { prompt: ready.tokens.len(), ..Counts::default() };
                let (finish, timings) = (Finish::Length, Timings::default());
                Preparation::Answer(Event::Generated(Generation {
                    finish,
                    stopped_by: None,
                    counts,
                    timings,
                    tokens: Vec::new(),
                    ids: Vec::new(),
                }))
            }),
            Request::Probe(request) => {
                self.probes(request).map(|ready| Preparation::Work(LaneWork::Branches(Box::new(ready))))
            }
        }
    }

    fn question(&self, request: &ScoreRequest) -> Result<LaneWork, EngineError> {
        let question = Question::new(self, request)?;
        // Recurrent state cannot be shared between branches: such models have the score lane only.
        let is_alone = request.lane == Lane::Canonical || request.state.is_some();
        if is_alone || self.prefix_reuse == PrefixReuse::Never {
            return Ok(LaneWork::Alone(Alone::Question(Box::new(question))));
        }
        let Question { trunk, candidates, adapters, .. } = question;
        let point = BranchPoint { n_tokens: trunk.len(), candidates };
        self.branches(trunk, vec![point], adapters).map(|ready| LaneWork::Branches(Box::new(ready)))
    }

    fn branches(
        &self,
        tokens: Vec<Token>,
        points: Vec<BranchPoint>,
        adapters: AdapterSet,
    ) -> Result<BranchPlan, EngineError> {
        if tokens.is_empty() {
            return Err(EngineError::EmptyPrompt);
        }
        let prepared = BranchPlan::new(tokens, points, adapters)?;
        let (needed, n_ctx) = (prepared.tokens.len() + prepared.n_branch_cells(), self.info.n_ctx as usize);
        if needed > n_ctx { Err(EngineError::Context { needed, n_ctx }) } else { Ok(prepared) }
    }

    fn generation(&self, request: GenerateRequest) -> Result<GenerationPlan, EngineError> {
        let GenerateRequest { prompt, sampling, adapters, grammar, detail, drafts, bias, visible } = request;
        self.check_bias(&bias)?;
        let tokens = self.tokenizer().encode(&prompt)?.tokens;
        let n_ctx = self.info.n_ctx as usize;
        if tokens.is_empty() {
            return Err(EngineError::EmptyPrompt);
        }
        // At least one token must fit after the prompt.
        if tokens.len() >= n_ctx {
            return Err(EngineError::Context { needed: tokens.len() + 1, n_ctx });
        }
        let specials = |texts: &[String]| texts.iter().filter_map(|text| self.tokenizer().known(text)).collect();
        let (visible, ends) = (specials(&visible), specials(&sampling.stop));
        let constraint = grammar.map(|grammar| self.compiler()?.compile(&grammar)).transpose()?;
        let limit = sampling.num_predict.map_or(n_ctx, |n| n_ctx.min(tokens.len() + n as usize));
        Ok(GenerationPlan { tokens, sampling, adapters, constraint, detail, drafts, bias, visible, ends, limit })
    }

    fn prompt_plan(&self, request: PromptLogprobsRequest) -> Result<PromptPlan, EngineError> {
        let PromptLogprobsRequest { prompt, n_likely, next, adapters } = request;
        self.check_bias(next.as_ref().map_or(&[], |next| &next.bias))?;
        let tokens = self.tokenizer().encode(&prompt)?.tokens;
        let n_ctx = self.info.n_ctx as usize;
        if tokens.is_empty() {
            return Err(EngineError::EmptyPrompt);
        }
        if tokens.len() > n_ctx {
            return Err(EngineError::Context { needed: tokens.len(), n_ctx });
        }
        Ok(PromptPlan { tokens, n_likely, next, adapters })
    }

    fn check_bias(&self, bias: &[(Token, f32)]) -> Result<(), EngineError> {
        for &(id, bias) in bias {
            self.tokenizer().check(id)?;
            if !bias.is_finite() {
                return Err(EngineError::Bias { id, bias });
            }
        }
        Ok(())
    }

    fn probes(&self, request: ProbeRequest) -> Result<BranchPlan, EngineError> {
        if self.prefix_reuse == PrefixReuse::Never {
            return Err(EngineError::NoBranches);
        }
        let ProbeRequest { prompt, adapters, generated, points } = request;
        let mut tokens = self.tokenizer().encode(&prompt)?.tokens;
        let n_prompt = tokens.len();
        tokens.extend(generated.iter().map(|token| token.id));
        if !points.is_sorted_by_key(|point| point.at) {
            return Err(failed("the positions in a text must be in ascending order"));
        }
        let mut ready = Vec::new();
        for point in &points {
            let (n_before, rest) = tokens_before(&generated, point.at);
            let written = |token: &GeneratedToken| {
                let n_bytes = token.n_bytes;
                self.tokenizer().spelling(token.id).into_iter().take(n_bytes)
            };
            let bytes = generated[n_before..].iter().flat_map(written).take(rest);
            let begun = String::from_utf8(bytes.collect()).map_err(|_| failed("a position inside a character"))?;
            let path = |candidate: &String| self.tokenizer().continuation(&format!("{begun}{candidate}"));
            let paths: Vec<Vec<Token>> = point.candidates.iter().map(path).collect();
            ready.push(BranchPoint {
                n_tokens: n_prompt + n_before,
                candidates: Candidates::new(
                    &paths,
                    vec![GroupShape::of(paths.len())],
                    vec![0; paths.len()],
                    Reading::Likelihood,
                ),
            });
        }
        let n_needed = ready.last().map_or(0, |point| point.n_tokens);
        tokens.truncate(n_needed);
        self.branches(tokens, ready, adapters)
    }
}

/// The generated tokens that end at or before byte `at`, and the bytes from there to it.
fn tokens_before(generated: &[GeneratedToken], at: usize) -> (usize, usize) {
    let mut end = 0;
    let mut n = 0;
    for token in generated {
        if end + token.n_bytes > at {
            break;
        }
        end += token.n_bytes;
        n += 1;
    }
    (n, at - end)
}
