//! A score request as tokens: the trunk that all candidates share, and their trie below it. It evaluates nothing.

use super::super::cache::common;
use super::super::scoring::{Candidates, GroupShape};
use super::super::{AdapterSet, Ending, EngineError, Group, ScoreRequest, Search, Spelling, StateAt, Token};
use super::hidden::Then;
use super::tokenizer::Encoded;
use super::{Model, failed};

/// A question ready to evaluate.
pub struct Question {
    pub trunk: Vec<Token>,
    pub border: usize,
    pub candidates: Candidates,
    pub search: Search,
    pub adapters: AdapterSet,
    /// `None` where no hidden state is wanted, or nothing is chosen.
    pub state: Option<StateWish>,
}

/// Which hidden state a question tells.
#[derive(Debug, Clone, Copy)]
pub struct StateWish {
    pub at: StateAt,
    /// The node after which the answer is chosen; `None` where nothing is.
    pub node: Option<usize>,
    /// The layer at whose output the row is read, counted from 0.
    pub layer: u32,
    /// Whether the row's decodes end there.
    pub then: Then,
    /// Where the row begins in the trunk, and its tokens.
    pub row_start: usize,
    pub n_row: usize,
}

impl Question {
    /// Tokenizes a request.
    ///
    /// # Errors
    /// The prompt or the ending has tokens that the vocabulary lacks, two candidates are the same tokens, or nothing is in front
    /// of them.
    pub fn new(model: &Model, request: &ScoreRequest) -> Result<Self, EngineError> {
        let tokenizer = model.tokenizer();
        let end = tokenizer.turn_end(request.turn_end.as_deref())?;
        let Encoded { tokens, border, tail, n_tail } = tokenizer.encode(&request.prompt)?;
        let tail_tokens = tokens[tokens.len() - n_tail..].to_vec();
        let continued = |text: &str| tokenizer.plain(&format!("{tail}{text}"));

        let mut groups = Vec::new();
        let mut names: Vec<String> = Vec::new();
        let mut paths: Vec<Vec<Token>> = Vec::new();
        let mut prefixes: Vec<Vec<Token>> = Vec::new();
        let mut ends: Vec<Option<Token>> = Vec::new();
        for Group { spellings, candidates, ending } in &request.groups {
            for Spelling { before, after } in spellings {
                let prefix = continued(before);
                for candidate in candidates {
                    paths.push(continued(&format!("{before}{candidate}{after}")));
                    prefixes.push(prefix.clone());
                    names.push(candidate.clone());
                    ends.push((*ending == Ending::Turn).then_some(end));
                }
            }
            groups.push(GroupShape { n_spellings: spellings.len(), n_candidates: candidates.len() });
        }
        // What every continuation leaves as it is belongs to the trunk. A tail whose last token joins with a candidate's
        // first is shorter there, for all of them.
        let shared = paths.iter().map(|path| common(path, &tail_tokens)).min().unwrap_or(n_tail);
        let mut skip: Vec<usize> =
            paths.iter().zip(&prefixes).map(|(path, prefix)| common(path, prefix).saturating_sub(shared)).collect();
        let mut at = 0;
        for size in groups.iter().map(GroupShape::n_paths) {
            // Where spellings part, their probabilities begin to count.
            let of_all =
                (at..at + size).map(|i| skip[i].min(common(&prefixes[i], &prefixes[at]).saturating_sub(shared)));
            let least = of_all.min().unwrap_or(0);
            skip[at..at + size].fill(least);
            at += size;
        }
        let mut trunk = tokens;
        trunk.truncate(trunk.len() - n_tail + shared);
        for (path, end) in paths.iter_mut().zip(ends) {
            path.drain(..shared);
            path.extend(end);
        }
        let mut from = 0;
        for size in groups.iter().map(GroupShape::n_paths) {
            told_apart(&paths[from..from + size], &names[from..from + size])?;
            from += size;
        }
        if trunk.is_empty() {
            return Err(EngineError::EmptyPrompt);
        }
        let border = border.min(trunk.len());
        let adapters = request.adapters.clone();
        let candidates = Candidates::new(&paths, groups, skip, request.reading);
        // As chunks are cut: a border outside the prompt is not a border.
        let row_start = if border < trunk.len() { border } else { 0 };
        let n_row = trunk.len() - row_start;
        let state = match request.state {
            Some(at) => state_wish(model, at, &candidates)?.map(|wish| StateWish { row_start, n_row, ..wish }),
            None => None,
        };
        Ok(Question { trunk, border, candidates, search: request.search, adapters, state })
    }
}

/// Which state of a question with these candidates is read, and where; `None` where a choice's is wanted and nothing is chosen.
fn state_wish(model: &Model, at: StateAt, candidates: &Candidates) -> Result<Option<StateWish>, EngineError> {
    let n_layers = model.info().n_layers;
    // The last layer of which every token has a row.
    let usual =
        StateWish { at, node: None, layer: n_layers.saturating_sub(2), then: Then::GoOn, row_start: 0, n_row: 0 };
    let StateAt::Layers(wanted) = at else {
        return Ok(candidates.first_choice().map(|node| StateWish { node: Some(node), ..usual }));
    };
    if !candidates.trie.is_empty() {
        return Err(failed("a state after some layers is told without candidates"));
    }
    if wanted == 0 || wanted >= n_layers {
        return Err(EngineError::Layers { wanted, n_layers });
    }
    // Graphs on several devices have several splits.
    let then = if model.gpus.is_empty() { Then::End } else { Then::GoOn };
    Ok(Some(StateWish { layer: wanted - 1, then, ..usual }))
}

/// Holds that no candidate's tokens are those of another, or its beginning.
fn told_apart(paths: &[Vec<Token>], names: &[String]) -> Result<(), EngineError> {
    let mut sorted: Vec<(&Vec<Token>, &String)> = paths.iter().zip(names).collect();
    sorted.sort();
    match sorted.windows(2).find(|pair| pair[1].0.starts_with(pair[0].0)) {
        Some(pair) => Err(EngineError::SameTokens(pair[0].1.clone(), pair[1].1.clone())),
        None => Ok(()),
    }
}
