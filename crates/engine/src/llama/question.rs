//! A score request as tokens: the trunk that all candidates share, and their trie below it. It evaluates nothing.

use super::super::cache::common;
use super::super::scoring::Trie;
use super::super::{AdapterSet, EngineError, Group, ScoreRequest, Token};
use super::Model;
use super::tokenizer::Encoded;

/// A question ready to evaluate.
pub struct Question {
    pub trunk: Vec<Token>,
    pub border: usize,
    pub trie: Trie,
    /// Candidates of all groups in one list; each group's share.
    pub group_sizes: Vec<usize>,
    /// Tokens of each candidate that belong to its group's prefix.
    pub skip: Vec<usize>,
    pub adapters: AdapterSet,
}

impl Question {
    /// Tokenizes a request.
    ///
    /// # Errors
    /// The prompt or the ending has tokens that the vocabulary lacks, two candidates are the same tokens, or nothing stands in front
    /// of them.
    pub fn new(model: &Model, request: &ScoreRequest) -> Result<Self, EngineError> {
        let tokenizer = model.tokenizer();
        let end = tokenizer.turn_end(request.turn_end.as_deref())?;
        let Encoded { tokens, border, tail, n_tail } = tokenizer.encode(&request.prompt)?;
        let tail_tokens = tokens[tokens.len() - n_tail..].to_vec();
        let continued = |text: &str| tokenizer.plain(&format!("{tail}{text}"));

        let mut group_sizes = Vec::new();
        let mut names: Vec<String> = Vec::new();
        let mut paths: Vec<Vec<Token>> = Vec::new();
        let mut prefixes: Vec<Vec<Token>> = Vec::new();
        for Group { prefix, candidates } in &request.groups {
            let prefix_tokens = continued(prefix);
            for candidate in candidates {
                paths.push(continued(&format!("{prefix}{candidate}")));
                prefixes.push(prefix_tokens.clone());
                names.push(candidate.clone());
            }
            group_sizes.push(candidates.len());
        }
        // What every continuation leaves as it is belongs to the trunk. A tail whose last token joins with a candidate's
        // first is shorter there, for all of them.
        let shared = paths.iter().map(|path| common(path, &tail_tokens)).min().unwrap_or(n_tail);
        let mut skip: Vec<usize> =
            paths.iter().zip(&prefixes).map(|(path, prefix)| common(path, prefix).saturating_sub(shared)).collect();
        let mut at = 0;
        for &size in &group_sizes {
            let least = skip[at..at + size].iter().copied().min().unwrap_or(0);
            skip[at..at + size].fill(least);
            at += size;
        }
        let mut trunk = tokens;
        trunk.truncate(trunk.len() - n_tail + shared);
        for path in &mut paths {
            path.drain(..shared);
            path.push(end);
        }
        same_tokens(&paths, &names)?;
        if trunk.is_empty() {
            return Err(EngineError::EmptyPrompt);
        }
        let border = border.min(trunk.len());
        let adapters = request.adapters.clone();
        Ok(Question { trunk, border, trie: Trie::new(&paths), group_sizes, skip, adapters })
    }
}

fn same_tokens(paths: &[Vec<Token>], names: &[String]) -> Result<(), EngineError> {
    let mut seen = std::collections::HashMap::new();
    for (path, name) in paths.iter().zip(names) {
        if let Some(other) = seen.insert(path, name) {
            return Err(EngineError::SameTokens(other.clone(), name.clone()));
        }
    }
    Ok(())
}
