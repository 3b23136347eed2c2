//! The candidates of a question's groups over one trie, the choices among them, and the two readings of what was evaluated.
//!
//! It knows tokens and log-probabilities, neither contracts nor llama.cpp.

use std::sync::Arc;

use super::Trie;
use crate::{GroupScores, Reading, Token};

/// The candidates of all groups.
#[derive(Debug, Clone)]
pub struct Candidates {
    pub trie: Arc<Trie>,
    pub reading: Reading,
    groups: Vec<GroupShape>,
    /// Tokens of each path that belong to its group's prefix.
    skip: Vec<usize>,
    /// For every group that has candidates where these first part.
    pub(super) starts: Vec<Start>,
    pub(super) choices: Vec<Choice>,
}

/// The paths of a group: every candidate in every spelling, the first spelling's first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupShape {
    pub n_spellings: usize,
    pub n_candidates: usize,
}

/// Where a group's paths first part.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    pub next: Next,
    /// The group's first path in the list of all.
    pub from: usize,
    pub shape: GroupShape,
}

/// A node after which a group's candidates go different ways.
#[derive(Debug, Clone)]
pub(super) struct Choice {
    pub node: usize,
    /// The children that lead to candidates of the group, each with what comes next on its way.
    pub ways: Vec<(usize, Next)>,
    /// The paths after it, in the list of all.
    pub paths: Vec<usize>,
}

/// What a way leads to. What lies between is certain: no other path of the group goes there.
#[derive(Debug, Clone, Copy)]
pub(super) enum Next {
    Choice(usize),
    Path(usize),
}

impl GroupShape {
    /// Of candidates in one spelling.
    #[must_use]
    pub fn of(n_candidates: usize) -> GroupShape {
        GroupShape { n_spellings: 1, n_candidates }
    }

    #[must_use]
    pub fn n_paths(&self) -> usize {
        self.n_spellings * self.n_candidates
    }
}

impl Candidates {
    /// Puts the candidates of groups of these shapes together. `paths` are their tokens, those of the last group last; `skip`
    /// says how many tokens at the beginning of each are its group's prefix, whose probability does not count.
    ///
    /// No path may be the beginning of another of its group.
    #[must_use]
    pub fn new(paths: &[Vec<Token>], groups: Vec<GroupShape>, skip: Vec<usize>, reading: Reading) -> Self {
        let mut trie = Trie::new(paths);
        let mut choices = Vec::new();
        let mut starts = Vec::new();
        let mut from = 0;
        for &shape in &groups {
            let n_paths = shape.n_paths();
            if n_paths > 0 {
                let next = parted(&trie, &(from..from + n_paths).collect::<Vec<_>>(), 0, &mut choices);
                starts.push(Start { next, from, shape });
            }
            from += n_paths;
        }
        if reading != Reading::Likelihood {
            trie.read_only(choices.iter().map(|choice| choice.node));
        }
        Candidates { trie: Arc::new(trie), reading, groups, skip, starts, choices }
    }

    /// The node after which the first group that has several candidates chooses between them; every reading reads it. `None`
    /// where there is nothing to choose.
    #[must_use]
    pub fn first_choice(&self) -> Option<usize> {
        self.starts.iter().find_map(|start| match start.next {
            Next::Choice(number) => Some(self.choices[number].node),
            Next::Path(_) => None,
        })
    }

    /// What each node's own log-probability (node 0 counts as 0) says of the candidates, group by group. Behind a choice that
    /// was not read, every path has the same share of the probability that leads there.
    ///
    /// # Panics
    /// There are fewer values than nodes.
    #[must_use]
    pub fn scores(&self, values: &[f64], is_read: impl Fn(usize) -> bool) -> Vec<GroupScores> {
        let (logprobs, masses) = match self.reading {
            Reading::Likelihood => (self.trie.path_logprobs(values, &self.skip), None),
            Reading::Choices => {
                let mut logprobs = vec![f64::NEG_INFINITY; self.skip.len()];
                let spread = |start: &Start| self.spread(start.next, values, &is_read, &mut logprobs);
                let masses: Vec<f64> = self.starts.iter().map(spread).collect();
                (logprobs, Some(masses))
            }
        };
        let mut masses = masses.into_iter().flatten();
        let mut rest = logprobs.as_slice();
        let of_group = |shape: &GroupShape| {
            let (paths, behind) = rest.split_at(shape.n_paths());
            rest = behind;
            let logprobs = (0..shape.n_candidates).map(|i| {
                let spelled = paths[i..].iter().step_by(shape.n_candidates).copied();
                if shape.n_spellings == 1 { paths[i] } else { log_sum(spelled) }
            });
            let scores = GroupScores::likelihood(logprobs.collect());
            match (self.reading, shape.n_paths()) {
                (Reading::Choices, 1..) => GroupScores { mass: masses.next().unwrap_or_default(), ..scores },
                _ => scores,
            }
        };
        self.groups.iter().map(of_group).collect()
    }

    /// Gives every path after `start` its log-probability, and returns the model's own probability of going to any of them.
    fn spread(&self, start: Next, values: &[f64], is_read: &impl Fn(usize) -> bool, logprobs: &mut [f64]) -> f64 {
        let mut mass = 0.0;
        let mut stack = vec![(start, 0.0, 0.0)];
        while let Some((next, logprob, raw)) = stack.pop() {
            match next {
                Next::Path(path) => {
                    logprobs[path] = logprob;
                    mass += f64::exp(raw);
                }
                Next::Choice(number) if !is_read(number) => {
                    let behind = &self.choices[number].paths;
                    for &path in behind {
                        logprobs[path] = logprob - (behind.len() as f64).ln();
                    }
                    mass += f64::exp(raw);
                }
                Next::Choice(number) => {
                    let choice = &self.choices[number];
                    let shares = choice.shares(values);
                    let on = choice.ways.iter().zip(shares);
                    stack.extend(on.map(|(&(node, next), share)| (next, logprob + share, raw + values[node])));
                }
            }
        }
        mass
    }
}

impl Choice {
    /// The log-probability of each way among the ways, given each node's own.
    pub fn shares(&self, values: &[f64]) -> Vec<f64> {
        let sum = log_sum(self.ways.iter().map(|&(node, _)| values[node]));
        if sum == f64::NEG_INFINITY {
            // The model gives no way any probability: every one is as likely.
            return vec![-(self.ways.len() as f64).ln(); self.ways.len()];
        }
        self.ways.iter().map(|&(node, _)| values[node] - sum).collect()
    }

    /// Whether its ways are spellings: each leads to every candidate.
    pub fn is_of_spellings(&self, shape: GroupShape) -> bool {
        shape.n_spellings > 1 && self.paths.len() == self.ways.len() * shape.n_candidates
    }
}

/// The logarithm of the sum of what these are the logarithms of.
fn log_sum(logs: impl Iterator<Item = f64> + Clone) -> f64 {
    let max = logs.clone().fold(f64::NEG_INFINITY, f64::max);
    if max == f64::NEG_INFINITY { max } else { logs.map(|log| (log - max).exp()).sum::<f64>().ln() + max }
}

/// Where paths that share their first `depth` tokens part.
fn parted(trie: &Trie, paths: &[usize], mut depth: usize, choices: &mut Vec<Choice>) -> Next {
    loop {
        if let [path] = paths {
            return Next::Path(*path);
        }
        let mut ways: Vec<(usize, Vec<usize>)> = Vec::new();
        for &path in paths {
            let node = trie.paths[path][depth];
            match ways.iter_mut().find(|(known, _)| *known == node) {
                Some((_, behind)) => behind.push(path),
                None => ways.push((node, vec![path])),
            }
        }
        depth += 1;
        if ways.len() == 1 {
            continue;
        }
        let number = choices.len();
        let node = trie.nodes[ways[0].0].parent;
        choices.push(Choice { node, ways: Vec::new(), paths: paths.to_vec() });
        choices[number].ways =
            ways.into_iter().map(|(node, behind)| (node, parted(trie, &behind, depth, choices))).collect();
        return Next::Choice(number);
    }
}
