//! The order in which a score lane reads a question's choices: the likely ones first, and no further than it matters.
//!
//! Pure, and a function of the question and of its own probabilities: the promise of bit-identical probabilities holds.

use std::collections::HashMap;

use super::candidates::{Candidates, Next, Start};
use super::{MAX_BRANCHES, Row};
use crate::{GroupScores, Search as Extent};

/// What a candidate's probability may be larger than what is known of it, where choices before it are not read. It is given its
/// share of what leads there, so no probability is further than this from the exact one.
pub const UNREAD: f64 = 0.01;

/// The choices that are read at once where the best candidate is not decided: a decode of a few rows takes as long as one of
/// a single row.
const AT_LEAST: usize = 4;

/// A question while its choices are read.
pub struct Search<'c> {
    candidates: &'c Candidates,
    extent: Extent,
    /// The log-probability of every node whose parent was read.
    values: Vec<f64>,
    is_read: Vec<bool>,
    /// For every node in the lane a sequence that it is in.
    evaluated: HashMap<usize, i32>,
    n_sequences: usize,
    n_cells: usize,
    max_cells: usize,
}

impl Start {
    /// The candidate that a path of the group spells.
    fn candidate(&self, path: usize) -> usize {
        (path - self.from) % self.shape.n_candidates
    }
}

/// What is evaluated next.
#[derive(Debug, Default)]
pub struct Step {
    /// Whether all branches are removed first: there is no more room beside them.
    pub restarts: bool,
    /// New sequences.
    pub branches: Vec<Branch>,
    /// The rows, parents before children.
    pub rows: Vec<Row>,
}

/// What is known of a group's candidates.
struct Known {
    /// The choices that are reached and not read, each with the probability of getting there.
    open: Vec<(f64, usize)>,
    /// For every candidate the probability of its paths that are known.
    known: Vec<f64>,
    /// For every candidate the probability of the choices in `open` that lead to it: its own is more by this at most.
    unread: Vec<f64>,
}

/// A sequence that begins as another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Branch {
    pub from: i32,
    pub to: i32,
    /// Tokens below the trunk's last one that they share.
    pub n_shared: usize,
}

impl<'c> Search<'c> {
    /// `max_cells` are the cells beside the trunk.
    pub fn new(candidates: &'c Candidates, extent: Extent, max_cells: usize) -> Self {
        Search {
            candidates,
            extent,
            values: vec![f64::NEG_INFINITY; candidates.trie.len()],
            is_read: vec![false; candidates.choices.len()],
            evaluated: HashMap::from([(0, 0)]),
            n_sequences: 0,
            n_cells: 0,
            max_cells,
        }
    }

    /// Whether the logits after the trunk are read.
    pub fn reads_root(&self) -> bool {
        self.candidates.choices.iter().any(|choice| choice.node == 0)
    }

    /// The children of a node that was read, to be given their log-probabilities.
    pub fn read(&mut self, node: usize, logprobs: impl IntoIterator<Item = f64>) {
        self.candidates.trie.record(&mut self.values, node, logprobs);
        for (number, choice) in self.candidates.choices.iter().enumerate() {
            self.is_read[number] |= choice.node == node;
        }
    }

    /// The next rows; `None` where all that matters was read.
    ///
    /// # Errors
    /// The cells that one branch needs, where it has no room.
    pub fn next_step(&mut self) -> Result<Option<Step>, usize> {
        let wanted = self.wanted();
        if wanted.is_empty() {
            return Ok(None);
        }
        let mut step = Step::default();
        self.extend_all(&wanted, &mut step);
        if step.rows.is_empty() {
            step.restarts = true;
            self.evaluated = HashMap::from([(0, 0)]);
            (self.n_sequences, self.n_cells) = (0, 0);
            if let (Some(needed), true) = (self.extend_all(&wanted, &mut step), step.rows.is_empty()) {
                return Err(needed);
            }
        }
        self.done(&step);
        Ok(Some(step))
    }

    /// What the choices that were read say of the candidates.
    pub fn scores(&self) -> Vec<GroupScores> {
        self.candidates.scores(&self.values, |choice| self.is_read[choice])
    }

    /// The nodes to read next, in the order of their groups and probabilities, each once.
    fn wanted(&self) -> Vec<usize> {
        let mut nodes: Vec<usize> = Vec::new();
        for start in &self.candidates.starts {
            for choice in self.wanted_of(start) {
                let node = self.candidates.choices[choice].node;
                if !nodes.contains(&node) {
                    nodes.push(node);
                }
            }
        }
        nodes
    }

    /// The choices of one group to read next, the likely ones first.
    fn wanted_of(&self, start: &Start) -> Vec<usize> {
        let Known { mut open, known, mut unread } = self.known(start);
        open.sort_by(|(p, one), (q, other)| q.total_cmp(p).then(one.cmp(other)));
        if self.extent == Extent::Exact {
            return open.into_iter().map(|(_, number)| number).collect();
        }
        let is_decided = is_decided(&known, &unread);
        if is_decided && greatest(&unread) <= UNREAD {
            return Vec::new();
        }
        // Half of what may stay unread is left to the choices after these.
        let mut wanted = Vec::new();
        for (p, number) in open {
            if greatest(&unread) <= UNREAD / 2.0 && (is_decided || wanted.len() >= AT_LEAST) {
                break;
            }
            self.with_spellings(number, start, &mut wanted);
            self.candidates_behind(number, start).for_each(|candidate| unread[candidate] -= p);
        }
        wanted
    }

    /// A choice; where it is one of spellings, those after its ways too: they would be the next anyway.
    fn with_spellings(&self, number: usize, start: &Start, wanted: &mut Vec<usize>) {
        wanted.push(number);
        let choice = &self.candidates.choices[number];
        if choice.is_of_spellings(start.shape) {
            for &(_, next) in &choice.ways {
                if let Next::Choice(next) = next {
                    self.with_spellings(next, start, wanted);
                }
            }
        }
    }

    /// What was read of a group.
    fn known(&self, start: &Start) -> Known {
        let n = start.shape.n_candidates;
        let mut found = Known { open: Vec::new(), known: vec![0.0; n], unread: vec![0.0; n] };
        let mut stack = vec![(start.next, 0.0)];
        while let Some((next, logprob)) = stack.pop() {
            match next {
                Next::Path(path) => found.known[start.candidate(path)] += f64::exp(logprob),
                Next::Choice(number) if !self.is_read[number] => {
                    let p = f64::exp(logprob);
                    found.open.push((p, number));
                    self.candidates_behind(number, start).for_each(|candidate| found.unread[candidate] += p);
                }
                Next::Choice(number) => {
                    let choice = &self.candidates.choices[number];
                    let shares = choice.shares(&self.values);
                    stack.extend(choice.ways.iter().zip(shares).map(|(&(_, next), share)| (next, logprob + share)));
                }
            }
        }
        found
    }

    /// The candidates that a choice leads to, each once.
    fn candidates_behind(&self, choice: usize, start: &Start) -> impl Iterator<Item = usize> {
        let mut behind: Vec<usize> =
            self.candidates.choices[choice].paths.iter().map(|&path| start.candidate(path)).collect();
        behind.sort_unstable();
        behind.dedup();
        behind.into_iter()
    }

    /// Adds the rows to as many of these nodes as there is room for; the cells that the first of the others needs.
    fn extend_all(&mut self, nodes: &[usize], step: &mut Step) -> Option<usize> {
        nodes.iter().find_map(|&node| self.extend(node, step).err())
    }

    /// Adds the rows to a node that is to be read.
    ///
    /// # Errors
    /// The cells that it would need, where there is no room for it.
    fn extend(&mut self, tip: usize, step: &mut Step) -> Result<(), usize> {
        let trie = &self.candidates.trie;
        let mut path = vec![tip];
        while let Some(&node) = path.last()
            && !self.evaluated.contains_key(&node)
        {
            path.push(trie.parent(node));
        }
        let from = path.pop().expect("the path has the tip at least");
        let row_of = |step: &Step, node: usize| step.rows.iter().position(|row| row.node == node);
        let n_cells = self.n_cells + path.iter().filter(|&&node| row_of(step, node).is_none()).count();
        if n_cells > self.max_cells || self.n_sequences == MAX_BRANCHES {
            return Err(n_cells);
        }
        self.n_sequences += 1;
        self.n_cells = n_cells;
        let sequence = i32::try_from(self.n_sequences).expect("at most MAX_BRANCHES");
        step.branches.push(Branch { from: self.evaluated[&from], to: sequence, n_shared: trie.depth(from) });
        for &node in path.iter().rev() {
            match row_of(step, node) {
                Some(at) => step.rows[at].sequences.push(sequence),
                None => step.rows.push(Row { sequences: vec![sequence], ..trie.row(node) }),
            }
        }
        Ok(())
    }

    /// What a step evaluated is in the lane from here on.
    fn done(&mut self, step: &Step) {
        for row in &step.rows {
            self.evaluated.insert(row.node, row.sequences[0]);
        }
    }
}

/// Whether no other candidate can become as probable as the best of those that are known.
fn is_decided(known: &[f64], unread: &[f64]) -> bool {
    let best = (0..known.len()).fold(0, |best, i| if known[i] > known[best] { i } else { best });
    (0..known.len()).all(|i| i == best || known[i] + unread[i] <= known[best])
}

fn greatest(unread: &[f64]) -> f64 {
    unread.iter().copied().fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scoring::{GroupShape, Logits};
    use crate::{Reading, Token};
    use proptest::prelude::*;

    /// A model whose logits after some tokens are a function of these.
    fn logit(seed: u64, before: &[Token], token: Token) -> f64 {
        let mixed = before.iter().chain([&token]).fold(seed, |hash, &token| {
            let mixed = (hash ^ token as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            mixed ^ mixed >> 29
        });
        (mixed >> 40) as f64 / f64::from(1 << 24) * 9.0
    }

    /// `log P(token | before)` over a vocabulary of eight tokens and an end.
    fn logprob(seed: u64, before: &[Token], token: Token) -> f64 {
        let sum: f64 = (0..9).map(|other| logit(seed, before, other).exp()).sum();
        logit(seed, before, token) - sum.ln()
    }

    /// The product of a candidate's choices, by its definition.
    fn expected(seed: u64, paths: &[Vec<Token>], path: &[Token]) -> f64 {
        let mut p = 1.0;
        for depth in 0..path.len() {
            let before = &path[..depth];
            let mut ways: Vec<Token> =
                paths.iter().filter(|other| other.starts_with(before)).map(|other| other[depth]).collect();
            ways.sort_unstable();
            ways.dedup();
            let of = |token: Token| logprob(seed, before, token).exp();
            p *= of(path[depth]) / ways.iter().map(|&way| of(way)).sum::<f64>();
        }
        p
    }

    /// Reads a question's choices as a lane does; the probabilities and the number of rows.
    fn run(candidates: &Candidates, seed: u64, extent: Extent, max_cells: usize) -> (Vec<GroupScores>, usize) {
        let mut search = Search::new(candidates, extent, max_cells);
        let mut texts: HashMap<usize, Vec<Token>> = HashMap::from([(0, Vec::new())]);
        let mut sequences: HashMap<i32, Vec<Token>> = HashMap::from([(0, Vec::new())]);
        let (mut n_rows, mut n_cells) = (0, 0);
        let read = |search: &mut Search<'_>, node: usize, text: &[Token]| {
            let logprobs: Vec<f64> =
                candidates.trie.children(node).map(|(_, token)| logprob(seed, text, token)).collect();
            search.read(node, logprobs);
        };
        if search.reads_root() {
            read(&mut search, 0, &[]);
        }
        while let Some(step) = search.next_step().unwrap() {
            assert!(!step.rows.is_empty());
            if step.restarts {
                sequences = HashMap::from([(0, Vec::new())]);
                n_cells = 0;
            }
            for &Branch { from, to, n_shared } in &step.branches {
                assert!((1..=MAX_BRANCHES as i32).contains(&to));
                let begun = sequences[&from][..n_shared].to_vec();
                assert!(sequences.insert(to, begun).is_none());
            }
            for row in &step.rows {
                for sequence in &row.sequences {
                    let text = sequences.get_mut(sequence).unwrap();
                    assert_eq!(text.len() + 1, row.depth);
                    text.push(row.token);
                    texts.insert(row.node, text.clone());
                }
                if row.logits == Logits::Read {
                    read(&mut search, row.node, &texts[&row.node].clone());
                }
            }
            n_rows += step.rows.len();
            n_cells += step.rows.len();
            assert!(n_cells <= max_cells);
        }
        (search.scores(), n_rows)
    }

    fn groups(paths: &[Vec<Vec<Token>>]) -> (Vec<Vec<Vec<Token>>>, Candidates) {
        let ended = |path: &Vec<Token>| [path.as_slice(), &[8]].concat();
        let mut groups: Vec<Vec<Vec<Token>>> = paths.iter().map(|group| group.iter().map(ended).collect()).collect();
        for group in &mut groups {
            group.sort();
            group.dedup();
        }
        let all = groups.concat();
        let shapes = groups.iter().map(|group| GroupShape::of(group.len())).collect();
        (groups, Candidates::new(&all, shapes, vec![0; all.len()], Reading::Choices))
    }

    proptest! {
        /// Whatever the candidates: each has the product of its choices where all are read, and no more than the bound from it
        /// where they are not; then the most probable one is known, with its own probability, for no more rows.
        #[test]
        fn the_likely_choices_are_enough(
            paths in prop::collection::vec(prop::collection::vec(prop::collection::vec(0..8i32, 0..6), 1..90), 1..4),
            seed in any::<u64>(), max_cells in 6usize..200,
        ) {
            let (groups, candidates) = groups(&paths);
            let (exact, n_all) = run(&candidates, seed, Extent::Exact, max_cells);
            let (some, n_some) = run(&candidates, seed, Extent::BestFirst, 10_000);
            for ((group, exact), some) in groups.iter().zip(&exact).zip(&some) {
                let best = (0..group.len()).max_by(|&i, &j| exact.logprobs[i].total_cmp(&exact.logprobs[j])).unwrap();
                for (i, path) in group.iter().enumerate() {
                    let p = expected(seed, group, path);
                    prop_assert!((exact.logprobs[i].exp() - p).abs() < 1e-9, "{path:?}: {} {p}", exact.logprobs[i].exp());
                    prop_assert!((some.logprobs[i].exp() - p).abs() <= UNREAD);
                    prop_assert!(i == best || some.logprobs[i] < some.logprobs[best] || p == exact.logprobs[best].exp());
                }
                prop_assert!((some.logprobs[best] - exact.logprobs[best]).abs() < 1e-9);
                prop_assert!((some.logprobs.iter().map(|x| x.exp()).sum::<f64>() - 1.0).abs() < 1e-9);
                prop_assert!(exact.mass <= some.mass + 1e-9 && some.mass <= 1.0 + 1e-9);
            }
            prop_assert!(n_some <= n_all);
        }
    }

    proptest! {
        /// A candidate in two spellings has the probability of both, and the best one is known.
        #[test]
        fn spellings_are_summed(
            labels in prop::collection::btree_set(prop::collection::vec(0..8i32, 1..5), 2..40), seed in any::<u64>(),
        ) {
            let spelled = |begin: &'static [Token]| labels.iter().map(move |label| [begin, label, &[8]].concat());
            let paths: Vec<Vec<Token>> = spelled(&[1, 2]).chain(spelled(&[1, 3, 3])).collect();
            let shape = GroupShape { n_spellings: 2, n_candidates: labels.len() };
            let candidates = Candidates::new(&paths, vec![shape], vec![1; paths.len()], Reading::Choices);
            let exact = run(&candidates, seed, Extent::Exact, 10_000).0.remove(0).logprobs;
            let some = run(&candidates, seed, Extent::BestFirst, 10_000).0.remove(0).logprobs;
            let p = |i: usize| expected(seed, &paths, &paths[i]) + expected(seed, &paths, &paths[i + labels.len()]);
            let best = (0..labels.len()).max_by(|&i, &j| p(i).total_cmp(&p(j))).unwrap();
            for i in 0..labels.len() {
                prop_assert!((exact[i].exp() - p(i)).abs() < 1e-9);
                prop_assert!((some[i].exp() - p(i)).abs() <= UNREAD);
                prop_assert!(some[i] <= some[best] + 1e-9);
            }
        }
    }

    #[test]
    fn what_is_certain_is_not_evaluated() {
        // `card arrival …`, `card lost …`, `cash …`: two choices, of which the first is read after the trunk.
        let (_, candidates) = groups(&[vec![vec![1, 2, 3, 4], vec![1, 5, 3], vec![6, 7, 7, 7]]]);
        let mut search = Search::new(&candidates, Extent::Exact, 100);
        assert!(search.reads_root());
        search.read(0, [-1.0, -1.0]);
        let step = search.next_step().unwrap().unwrap();
        assert_eq!(step.rows.iter().map(|row| (row.token, row.logits)).collect::<Vec<_>>(), [(1, Logits::Read)]);
        search.read(step.rows[0].node, [-1.0, -1.0]);
        assert!(search.next_step().unwrap().is_none());
        let p: Vec<f64> = search.scores()[0].logprobs.iter().map(|x| x.exp()).collect();
        assert!(p.iter().zip([0.25, 0.25, 0.5]).all(|(found, p)| (found - p).abs() < 1e-12), "{p:?}");
    }

    #[test]
    fn a_branch_that_has_no_room_says_how_many_cells_it_needs() {
        let (_, candidates) = groups(&[vec![vec![1, 2, 3, 4], vec![1, 2, 3, 5]]]);
        assert_eq!(Search::new(&candidates, Extent::Exact, 2).next_step().unwrap_err(), 3);
        assert_eq!(Search::new(&candidates, Extent::Exact, 3).next_step().unwrap().unwrap().rows.len(), 3);
    }
}
