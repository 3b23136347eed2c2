//! Grammars that an answer must follow, and how far one answer has come in its own.
//!
//! Over llguidance, its Matcher driven directly. It knows tokens and bytes, neither llama.cpp nor JSON Schema. It fails
//! closed: after an error nothing is allowed any more, and a grammar that no answer can satisfy is refused before the
//! first token.
//!
//! Limits, so that no grammar can hang or fill the machine (llguidance's fuel counts steps of its regex engine, about
//! 50,000 a millisecond when a grammar is built and 14,000 when a mask is made):
//!
//! | what | limit |
//! | --- | --- |
//! | text of a grammar | 16 MiB, brackets 256 deep |
//! | building all regexes | 1,000,000 steps |
//! | symbols of all rules | 500,000 |
//! | one mask | 200,000 steps of regexes, 50,000 items of rules, 2,000 alternatives at one place |
//! | states of all regexes together | 100,000 |
//! | time to follow it | 1 second, of which each token that is taken gives 10 ms back (`clock`) |

mod check;
mod clock;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use llguidance::api::{ParserLimits, TopLevelGrammar};
use llguidance::{CancellationHandle, Matcher, ParserFactory};
use toktrie::{InferenceCapabilities, SimpleVob, TokEnv, TokenId};

use super::{EngineError, Grammar, Token};
use check::{check_end, check_text};
use clock::Alarm;

/// Stack of the thread that compiles: llguidance descends into schemas and regexes by recursion, a few KiB a level.
const STACK_BYTES: usize = 256 << 20;

/// What following a grammar may cost, and what each token that was taken adds to it.
const MAX_TIME: Duration = Duration::from_secs(1);
const TIME_OF_TOKEN: Duration = Duration::from_millis(10);

/// Compiled grammars that are kept, and the longest text of one.
const MAX_KEPT: usize = 8;
const MAX_KEPT_BYTES: usize = 1 << 20;

/// A model's vocabulary, as constraints need it.
pub struct Vocabulary {
    /// Bytes of tokens, and the tokens of bytes.
    pub env: TokEnv,
    /// For every token whether it may be in a text.
    pub texts: Vec<bool>,
    /// Every token that ends an answer.
    pub ends: Vec<TokenId>,
}

/// Makes constraints of grammars, for one vocabulary. Made once for a model.
pub struct Compiler {
    factory: ParserFactory,
    ends: Arc<SimpleVob>,
    /// Text tokens and ends: no mask allows anything else.
    usable: Arc<SimpleVob>,
    /// Constraints that nothing was taken from, the least recently used first: most requests have the grammar of the one
    /// before.
    compiled: Mutex<VecDeque<(Grammar, Constraint)>>,
}

/// How far one answer has come in its grammar. Its methods fail closed: after an error each of them fails.
pub struct Constraint {
    matcher: Matcher,
    cancellation: CancellationHandle,
    /// What following the grammar may still cost.
    left: Duration,
    usable: Arc<SimpleVob>,
    ends: Arc<SimpleVob>,
}

/// A set of tokens.
#[derive(Debug, Clone)]
pub struct Mask(SimpleVob);

impl Mask {
    #[must_use]
    pub fn allows(&self, token: Token) -> bool {
        contains(&self.0, token)
    }

    /// The tokens of the set, in order.
    pub fn iter(&self) -> impl Iterator<Item = Token> + '_ {
        self.0.iter().filter_map(|token| Token::try_from(token).ok())
    }
}

fn contains(set: &SimpleVob, token: Token) -> bool {
    usize::try_from(token).is_ok_and(|index| index < set.len() && set.get(index))
}

impl Compiler {
    /// Prepares a vocabulary; takes a fraction of a second for 100,000 tokens.
    ///
    /// # Errors
    /// [`EngineError::Grammar`] where the vocabulary is nothing that grammars can be built on.
    pub fn new(vocabulary: Vocabulary) -> Result<Self, EngineError> {
        let Vocabulary { env, texts, ends } = vocabulary;
        let capabilities = InferenceCapabilities { ff_tokens: true, ..InferenceCapabilities::default() };
        // Slices are precomputed sets of tokens that JSON strings allow together: masks inside strings become cheap.
        let slices = llguidance::earley::SlicedBiasComputer::general_slices();
        let mut factory = ParserFactory::new(&env, capabilities, &slices).map_err(|error| refused(&error))?;
        factory.quiet();
        *factory.limits_mut() =
            ParserLimits { max_lexer_states: 100_000, verbose_errors: false, ..ParserLimits::default() };
        let mut usable = SimpleVob::from_slice(&texts);
        let mut end_set = SimpleVob::alloc(texts.len());
        for end in ends {
            usable.allow_token(end);
            end_set.allow_token(end);
        }
        let compiled = Mutex::new(VecDeque::new());
        Ok(Compiler { factory, ends: Arc::new(end_set), usable: Arc::new(usable), compiled })
    }

    /// Compiles a grammar, to its first mask.
    ///
    /// # Errors
    /// [`EngineError::Grammar`]: it is not a grammar, a limit is exceeded, or no answer can satisfy it.
    pub fn compile(&self, grammar: &Grammar) -> Result<Constraint, EngineError> {
        // A panic beside the lock leaves a list that is whole.
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = compiled.iter().position(|(known, _)| known == grammar) {
            let found = compiled.remove(at).expect("found above");
            let fresh = found.1.fresh();
            compiled.push_back(found);
            return Ok(fresh);
        }
        let constraint = self.compile_apart(grammar)?;
        if grammar.0.len() <= MAX_KEPT_BYTES {
            compiled.push_back((grammar.clone(), constraint.fresh()));
            while compiled.len() > MAX_KEPT {
                compiled.pop_front();
            }
        }
        Ok(constraint)
    }

    fn compile_apart(&self, grammar: &Grammar) -> Result<Constraint, EngineError> {
        check_text(&grammar.0)?;
        // On a thread of its own for its stack: hostile schemas and regexes nest deeply.
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("grammar".to_owned()).stack_size(STACK_BYTES);
            let compiled = thread.spawn_scoped(scope, || self.compile_here(grammar));
            compiled.map_err(|error| refused(&error))?.join().map_err(|_| refused(&"it could not be compiled"))?
        })
    }

    fn compile_here(&self, grammar: &Grammar) -> Result<Constraint, EngineError> {
        let grammar = TopLevelGrammar::from_lark(grammar.0.to_string());
        let parser = self.factory.create_parser(grammar).map_err(|error| refused(&error))?;
        check_end(&parser)?;
        let matcher = Matcher::new(Ok(parser)).into_cancellable();
        let mut constraint = Constraint::new(matcher, Arc::clone(&self.usable), Arc::clone(&self.ends));
        // Finds out whether nothing but the end may come.
        constraint.timed(|matcher| matcher.consume_tokens(&[]))?;
        constraint.mask()?;
        Ok(constraint)
    }
}

impl Constraint {
    fn new(matcher: Matcher, usable: Arc<SimpleVob>, ends: Arc<SimpleVob>) -> Self {
        let cancellation = matcher.cancellation_handle().unwrap_or_default();
        Constraint { matcher, cancellation, left: MAX_TIME, usable, ends }
    }

    /// The same state with nothing shared, so that one answer's automata do not grow into the next one's limits.
    fn fresh(&self) -> Self {
        Constraint::new(self.matcher.deep_clone(), Arc::clone(&self.usable), Arc::clone(&self.ends))
    }

    /// Lets the matcher work for as long as there is time.
    fn timed<T, E: std::fmt::Display>(
        &mut self,
        work: impl FnOnce(&mut Matcher) -> Result<T, E>,
    ) -> Result<T, EngineError> {
        let started = Instant::now();
        let alarm = Alarm::after(self.left, self.cancellation.clone());
        let done = work(&mut self.matcher);
        drop(alarm);
        self.left = self.left.saturating_sub(started.elapsed());
        if self.cancellation.is_cancelled() {
            return Err(too_slow());
        }
        done.map_err(|error| refused(&error))
    }

    /// Goes on by a token where that is allowed; `false` leaves everything as it was. An end token is allowed where the
    /// answer may end, and changes nothing: it is the caller that ends the answer.
    ///
    /// # Errors
    /// [`EngineError::Grammar`] where a limit is exceeded.
    pub fn take(&mut self, token: Token) -> Result<bool, EngineError> {
        if contains(&self.ends, token) {
            return self.accepts_end();
        }
        if !contains(&self.usable, token) || self.is_finished() {
            self.check()?;
            return Ok(false);
        }
        let is_taken = self.timed(|matcher| matcher.try_consume_tokens(&[id(token)]))? == 1;
        self.left = MAX_TIME.min(self.left + TIME_OF_TOKEN);
        Ok(is_taken)
    }

    /// The tokens that may come next; every end token among them where the answer may end. Never empty.
    ///
    /// # Errors
    /// [`EngineError::Grammar`] where a limit is exceeded, or the grammar leads nowhere.
    pub fn mask(&mut self) -> Result<Mask, EngineError> {
        self.check()?;
        if self.is_finished() {
            return Ok(Mask(self.ends.as_ref().clone()));
        }
        let mut mask = self.timed(Matcher::compute_mask)?;
        mask.and(&self.usable);
        if mask.is_zero() {
            return Err(refused(&"at one place it allows nothing that this model's vocabulary can write in a text"));
        }
        Ok(Mask(mask))
    }

    /// The tokens that must come next, as llama.cpp would tokenize them; often none.
    ///
    /// # Errors
    /// [`EngineError::Grammar`] where a limit is exceeded.
    pub fn forced(&mut self) -> Result<Vec<Token>, EngineError> {
        if self.is_finished() {
            return Ok(Vec::new());
        }
        let forced = self.timed(|matcher| Ok::<_, EngineError>(matcher.compute_ff_tokens()))?;
        self.check()?;
        let mut forced: Vec<Token> = forced.into_iter().filter_map(|token| Token::try_from(token).ok()).collect();
        let n_usable = forced.iter().take_while(|&&token| contains(&self.usable, token)).count();
        forced.truncate(n_usable);
        Ok(forced)
    }

    /// Whether only the end may follow.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        !self.matcher.is_error() && self.matcher.is_stopped()
    }

    /// Whether the answer may end here.
    ///
    /// # Errors
    /// [`EngineError::Grammar`] after an error.
    pub fn accepts_end(&mut self) -> Result<bool, EngineError> {
        self.check()?;
        if self.is_finished() {
            return Ok(true);
        }
        self.timed(Matcher::is_accepting)
    }

    /// How many tokens of a draft are allowed in sequence; the state does not change. End tokens are not counted: a draft
    /// stops before one.
    ///
    /// # Errors
    /// [`EngineError::Grammar`] where a limit is exceeded.
    pub fn n_allowed(&mut self, draft: &[Token]) -> Result<usize, EngineError> {
        self.check()?;
        if self.is_finished() {
            return Ok(0);
        }
        let is_text = |&&token: &&Token| contains(&self.usable, token) && !contains(&self.ends, token);
        let tokens: Vec<TokenId> = draft.iter().take_while(is_text).map(|&token| id(token)).collect();
        self.timed(|matcher| matcher.validate_tokens(&tokens))
    }

    /// Takes the last `n` taken tokens back.
    ///
    /// # Errors
    /// [`EngineError::Grammar`] where fewer were taken.
    pub fn rollback(&mut self, n: usize) -> Result<(), EngineError> {
        self.timed(|matcher| matcher.rollback(n))?;
        self.timed(|matcher| matcher.consume_tokens(&[]))
    }

    fn check(&self) -> Result<(), EngineError> {
        match self.matcher.get_error() {
            Some(_) if self.cancellation.is_cancelled() => Err(too_slow()),
            Some(reason) => Err(refused(&reason)),
            None => Ok(()),
        }
    }
}

impl std::fmt::Debug for Constraint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Constraint").field("is_finished", &self.is_finished()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Compiler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compiler").finish_non_exhaustive()
    }
}

fn too_slow() -> EngineError {
    refused(&"it takes more than a second to follow; simplify it, with fewer choices or shorter patterns")
}

/// A token that is known to be in the vocabulary.
fn id(token: Token) -> TokenId {
    TokenId::try_from(token).unwrap_or(TokenId::MAX)
}

/// llguidance's message, in one line and without its markup.
fn refused(error: &dyn std::fmt::Display) -> EngineError {
    let text = error.to_string();
    let text = text.split("<backtrace>").next().unwrap_or_default().replace("<non-verbose/>", "");
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let reason = if line.contains("missing special token prefix") {
        "it names a special token (`<…>`), and no answer may hold one; write its text in quotes".to_owned()
    } else if let Some(at) = line.strip_prefix("panic: ") {
        format!("llguidance gave up ({at})")
    } else {
        line
    };
    EngineError::Grammar { reason }
}
