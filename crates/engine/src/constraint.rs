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

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use llguidance::api::{ParserLimits, TopLevelGrammar};
use llguidance::earley::CGrammar;
use llguidance::{Matcher, ParserFactory, TokenParser};
use toktrie::{InferenceCapabilities, SimpleVob, TokEnv, TokenId};

use super::{EngineError, Grammar, Token};

/// The most bytes of a grammar's text.
const MAX_GRAMMAR_BYTES: usize = 16 << 20;
/// Brackets inside brackets in a grammar's text, regexes and schemas in it included.
const MAX_NESTING: usize = 256;
/// Stack of the thread that compiles: llguidance descends into schemas and regexes by recursion, a few KiB a level.
const STACK_BYTES: usize = 256 << 20;

/// Compiled grammars that are kept, and the longest text of one.
const MAX_KEPT: usize = 8;
const MAX_KEPT_BYTES: usize = 1 << 20;

/// A model's vocabulary, as constraints need it.
pub struct Vocabulary {
    /// Bytes of tokens, and the tokens of bytes.
    pub env: TokEnv,
    /// For every token whether it may stand in a text.
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
    /// [`EngineError::Grammar`]: it is no grammar, a limit is exceeded, or no answer can satisfy it.
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
        let matcher = Matcher::new(Ok(parser));
        let mut constraint = Constraint { matcher, usable: Arc::clone(&self.usable), ends: Arc::clone(&self.ends) };
        // Finds out whether nothing but the end may come.
        constraint.matcher.consume_tokens(&[]).map_err(|error| refused(&error))?;
        constraint.mask()?;
        Ok(constraint)
    }
}

impl Constraint {
    /// The same state with nothing shared, so that one answer's automata do not grow into the next one's limits.
    fn fresh(&self) -> Self {
        let (usable, ends) = (Arc::clone(&self.usable), Arc::clone(&self.ends));
        Constraint { matcher: self.matcher.deep_clone(), usable, ends }
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
        self.matcher.try_consume_tokens(&[id(token)]).map(|n| n == 1).map_err(|error| refused(&error))
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
        let mut mask = self.matcher.compute_mask().map_err(|error| refused(&error))?;
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
        let forced = self.matcher.compute_ff_tokens();
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
        self.matcher.is_accepting().map_err(|error| refused(&error))
    }

    /// How many tokens of a draft may come, one behind the other; nothing changes. End tokens are not counted: a draft
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
        self.matcher.validate_tokens(&tokens).map_err(|error| refused(&error))
    }

    /// Takes the last `n` taken tokens back.
    ///
    /// # Errors
    /// [`EngineError::Grammar`] where fewer were taken.
    pub fn rollback(&mut self, n: usize) -> Result<(), EngineError> {
        self.matcher.rollback(n).map_err(|error| refused(&error))?;
        self.matcher.consume_tokens(&[]).map_err(|error| refused(&error))
    }

    fn check(&self) -> Result<(), EngineError> {
        match self.matcher.get_error() {
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

/// A token that is known to be in the vocabulary.
fn id(token: Token) -> TokenId {
    TokenId::try_from(token).unwrap_or(TokenId::MAX)
}

/// llguidance's words, in one line and without its marks.
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

fn check_text(text: &str) -> Result<(), EngineError> {
    if text.len() > MAX_GRAMMAR_BYTES {
        let n_bytes = text.len();
        return Err(refused(&format!("its text has {n_bytes} bytes, at most {MAX_GRAMMAR_BYTES} are read")));
    }
    // Counted without regard to strings: a bound for recursion, not a syntax.
    let mut depth = 0usize;
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_NESTING {
            return Err(refused(&format!("its brackets are nested more than {MAX_NESTING} deep")));
        }
    }
    Ok(())
}

/// Refuses a grammar that no finite text satisfies, such as `start: "a" start`.
fn check_end(parser: &TokenParser) -> Result<(), EngineError> {
    let grammar = parser.parser.grammar();
    if ends(grammar) {
        return Ok(());
    }
    Err(refused(&"no answer can ever satisfy it: a rule needs itself again, without another way to end"))
}

/// Whether the start symbol derives some finite text. Every rule waits for the symbols in it, each visited once.
fn ends(grammar: &CGrammar) -> bool {
    let is_done = |symbol| {
        let data = grammar.sym_data(symbol);
        data.is_terminal || data.lexeme.is_some() || data.is_nullable || !data.cond_nullable.is_empty()
    };
    let mut found = vec![grammar.start()];
    let mut seen: HashSet<_> = found.iter().copied().collect();
    // For every rule whose symbol it makes and how many of its parts are not known to end; for a symbol its rules.
    let mut rules = Vec::new();
    let mut waiting: HashMap<_, Vec<usize>> = HashMap::new();
    let mut ending = HashSet::new();
    let mut fresh = Vec::new();
    let mut at = 0;
    while let Some(&symbol) = found.get(at) {
        at += 1;
        if is_done(symbol) && ending.insert(symbol) {
            fresh.push(symbol);
        }
        for &rule in grammar.rules_of(symbol) {
            let parts = grammar.rule_rhs(rule).0;
            for &part in parts {
                waiting.entry(part).or_default().push(rules.len());
                if seen.insert(part) {
                    found.push(part);
                }
            }
            rules.push((symbol, parts.len()));
        }
    }
    while let Some(symbol) = fresh.pop() {
        for &rule in waiting.get(&symbol).into_iter().flatten() {
            let (made, n_missing) = &mut rules[rule];
            *n_missing -= 1;
            if *n_missing == 0 && ending.insert(*made) {
                fresh.push(*made);
            }
        }
    }
    ending.contains(&grammar.start())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::LazyLock;
    use std::time::{Duration, Instant};

    /// One token for every byte, and six special ones of which the last is the end.
    static COMPILER: LazyLock<Compiler> = LazyLock::new(|| {
        let env = toktrie::ApproximateTokEnv::single_byte_env();
        let n_tokens = env.tok_trie().vocab_size();
        let texts = (0..n_tokens).map(|token| token < 255).collect();
        Compiler::new(Vocabulary { env, texts, ends: vec![END as TokenId] }).unwrap()
    });
    const END: Token = 261;

    fn compile(grammar: &str) -> Result<Constraint, EngineError> {
        COMPILER.compile(&Grammar(grammar.into()))
    }

    fn tokens(text: &str) -> Vec<Token> {
        text.bytes().map(Token::from).collect()
    }

    fn text(tokens: &[Token]) -> String {
        String::from_utf8(tokens.iter().map(|&token| token as u8).collect()).unwrap()
    }

    fn allowed(constraint: &mut Constraint) -> Vec<Token> {
        constraint.mask().unwrap().iter().collect()
    }

    #[test]
    fn only_what_the_grammar_allows_is_taken() {
        let mut constraint = compile("start: \"yes\" | /no+/").unwrap();
        assert_eq!(allowed(&mut constraint), tokens("ny"));
        assert!(!constraint.take(Token::from(b'x')).unwrap());
        assert!(!constraint.take(END).unwrap());
        assert_eq!(allowed(&mut constraint), tokens("ny"), "a refused token changes nothing");
        assert!(constraint.take(Token::from(b'n')).unwrap());
        assert_eq!(text(&constraint.forced().unwrap()), "o");
        assert!(constraint.take(Token::from(b'o')).unwrap());
        assert!(constraint.accepts_end().unwrap() && !constraint.is_finished());
        assert_eq!(allowed(&mut constraint), [tokens("o"), vec![END]].concat());
        assert!(constraint.take(END).unwrap());
    }

    #[test]
    fn a_finished_answer_allows_the_end_alone() {
        let mut constraint = compile("start: \"yes\"").unwrap();
        assert_eq!(text(&constraint.forced().unwrap()), "yes");
        for token in tokens("yes") {
            assert!(constraint.take(token).unwrap());
        }
        assert!(constraint.is_finished() && constraint.accepts_end().unwrap());
        assert_eq!(allowed(&mut constraint), [END]);
        assert!(!constraint.take(Token::from(b'!')).unwrap());
        assert_eq!(constraint.n_allowed(&tokens("!")).unwrap(), 0);
        assert!(constraint.forced().unwrap().is_empty());
    }

    #[test]
    fn what_was_taken_can_be_taken_back() {
        let mut constraint = compile("start: \"yes\" | \"yet\"").unwrap();
        let before = allowed(&mut constraint);
        for token in tokens("yes") {
            assert!(constraint.take(token).unwrap());
        }
        constraint.rollback(1).unwrap();
        assert!(!constraint.is_finished());
        assert_eq!(allowed(&mut constraint), tokens("st"));
        constraint.rollback(2).unwrap();
        assert_eq!(allowed(&mut constraint), before);
        assert!(constraint.rollback(1).is_err());
    }

    #[test]
    fn a_draft_is_counted_and_nothing_changes() {
        let mut constraint = compile("start: \"a\" \"b\"* \"c\"").unwrap();
        let before = allowed(&mut constraint);
        assert_eq!(constraint.n_allowed(&tokens("abbcc")).unwrap(), 4);
        assert_eq!(constraint.n_allowed(&[97, END, 98]).unwrap(), 1);
        assert_eq!(constraint.n_allowed(&[]).unwrap(), 0);
        assert_eq!(constraint.n_allowed(&[97, 258, -1, 1_000_000]).unwrap(), 1);
        assert_eq!(allowed(&mut constraint), before);
    }

    #[test]
    fn special_tokens_are_never_allowed() {
        for grammar in ["start: /(?s:.*)/", "start: <|user|> \"a\" | \"b\"", "start: <[256-260]> | \"b\""] {
            let Ok(mut constraint) = compile(grammar) else { continue };
            let mask = constraint.mask().unwrap();
            assert!((256..END).all(|special| !mask.allows(special)), "{grammar}");
            assert!(!constraint.take(256).unwrap(), "{grammar}");
        }
    }

    #[test]
    fn refusals_say_why() {
        let reason = |grammar: &str| compile(grammar).map(|_| ()).expect_err(grammar).to_string();
        let endless = "the grammar cannot be kept: no answer can ever satisfy it: a rule needs itself again, without \
                       another way to end";
        assert_eq!(reason("start: \"a\" start"), endless);
        assert_eq!(reason("start: start \"a\""), endless);
        assert_eq!(reason("start: a\na: \"[\" b \"]\"\nb: a \",\" b"), endless);
        assert_eq!(
            reason(
                "start: %json {\"$defs\": {\"a\": {\"type\": \"array\", \"items\": {\"$ref\": \"#/$defs/a\"}, \"minItems\": 1}}, \"$ref\": \"#/$defs/a\"}"
            ),
            endless
        );
        let deep = format!("start: {}\"a\"{}", "(".repeat(300), ")".repeat(300));
        assert_eq!(reason(&deep), "the grammar cannot be kept: its brackets are nested more than 256 deep");
        for grammar in ["", "  ", "start", "start: nothing", "a: \"b\"", "start: /(/", "start: %json {", "{}", "\u{0}"]
        {
            assert!(matches!(compile(grammar), Err(EngineError::Grammar { .. })), "{grammar:?}");
        }
        let secret = reason("start: %json {\"$ref\": \"file:///etc/hostname\"}");
        assert!(secret.len() < 400, "{secret}");
    }

    #[test]
    fn recursion_that_can_end_is_kept() {
        for grammar in ["start: \"(\" start \")\" | \"x\"", "start: start \"a\" | \"b\"", "start: \"\" | \"a\" start"] {
            assert!(compile(grammar).is_ok(), "{grammar}");
        }
    }

    /// Limits end in an error, at compile time or while an answer is written, and in bounded time.
    #[test]
    fn grammars_that_explode_end_in_an_error() {
        let many: String = (0..5000).map(|i| format!(" | /[a-z]{{{i},}}x{i}/")).collect();
        let grammars = [
            "start: /(a+)+$/".to_owned(),
            "start: /((a+)+)+b/".to_owned(),
            "start: /[a-z]{1,100000}/".to_owned(),
            "start: /(([a-z]{1,1000}){1,1000}){1,1000}/".to_owned(),
            "start: /(.*a.{20})&(.*b.{20})&(.*c.{20})/".to_owned(),
            "start: /.*a.{60}b.{60}/".to_owned(),
            "start: a{1,1000000}\na: \"x\"{1,1000000}".to_owned(),
            "start: (\"a\" | \"aa\" | \"aaa\")* \"b\"".to_owned(),
            "start: e\ne: e e | \"a\" | ".to_owned(),
            format!("start: \"never\"{many}"),
        ];
        for grammar in grammars {
            let started = Instant::now();
            if let Ok(mut constraint) = compile(&grammar) {
                for _ in 0..200 {
                    let Ok(mask) = constraint.mask() else { break };
                    let Some(token) = mask.iter().find(|&token| token != END) else { break };
                    if constraint.take(token).is_err() {
                        break;
                    }
                }
            }
            let head: String = grammar.chars().take(60).collect();
            eprintln!("{:?} {head}", started.elapsed());
            assert!(started.elapsed() < Duration::from_secs(60), "{head}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever is written by masks alone ends, and is a text of the grammar; the mask, the check and the draft agree.
        #[test]
        fn masks_checks_and_drafts_agree(seed in any::<u64>(), grammar in 0usize..4) {
            let grammar = [
                "start: \"{\" pair (\",\" pair)* \"}\"\npair: /[a-c]{1,3}/ \":\" /[0-9]{1,4}/",
                "start: e\ne: e \"+\" t | t\nt: \"(\" e \")\" | /[0-9]/",
                "start: %json {\"type\": \"object\", \"properties\": {\"a\": {\"type\": \"string\", \"maxLength\": 4}, \"b\": {\"enum\": [1, 2]}}, \"required\": [\"a\", \"b\"], \"additionalProperties\": false}",
                "start: /(ab|ba){2,5}/ | \"end\"",
            ][grammar];
            let mut constraint = compile(grammar).unwrap();
            let mut random = seed;
            for _ in 0..60 {
                let mask = constraint.mask().unwrap();
                let choices: Vec<Token> = mask.iter().collect();
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let token = choices[(random >> 33) as usize % choices.len()];
                let refused = (0..255).find(|&token| !mask.allows(token));
                if let Some(refused) = refused {
                    prop_assert_eq!(constraint.n_allowed(&[refused]).unwrap(), 0);
                    prop_assert!(!constraint.take(refused).unwrap());
                }
                prop_assert_eq!(mask.allows(END), constraint.accepts_end().unwrap());
                if token == END {
                    break;
                }
                prop_assert_eq!(constraint.n_allowed(&[token]).unwrap(), 1);
                prop_assert!(constraint.take(token).unwrap());
            }
        }

        #[test]
        fn no_text_panics_or_hangs(grammar in "(start: |a: |\"x\"|/[a-z]+/|\\(|\\)|\\||\\*|\\?|\n|%json \\{|\\}|start|a| |<\\[1\\]>|\\PC){0,30}") {
            let _ = compile(&grammar);
        }
    }
}
