//! The trie of candidate continuations and the order in which a score lane evaluates it.
//!
//! Pure: it knows tokens and row limits, never llama.cpp. What it decides depends on the question alone, because the
//! promise of bit-identical probabilities rests on every decode having the same rows whenever the question is asked.

mod candidates;
mod search;

use super::Token;

pub use candidates::{Candidates, GroupShape};
pub use search::{Branch, Search, Step, UNREAD};

/// The branch sequences of one wave; sequence 0 is the trunk. A design limit of the lane, part of the evaluation id.
pub const MAX_BRANCHES: usize = 63;
/// The rows of logits of one decode.
pub const MAX_ROWS: usize = 64;

/// The candidates of a question as a trie below the trunk's last token.
///
/// Node 0 is the trunk's last token. A candidate is a path of tokens that ends with the token that ends the answer; that
/// last token is read off its parent's logits and never evaluated.
#[derive(Debug, Clone)]
pub struct Trie {
    nodes: Vec<Node>,
    /// For every candidate its nodes from the root's child to the end token.
    paths: Vec<Vec<usize>>,
}

#[derive(Debug, Clone)]
struct Node {
    token: Token,
    depth: usize,
    parent: usize,
    children: Vec<usize>,
    logits: Logits,
    /// Whether it or a node below it is read.
    is_evaluated: bool,
}

/// Whether what follows a row is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logits {
    Read,
    Unread,
}

/// One token to evaluate: where it is in the trie and which of the wave's sequences run through it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub node: usize,
    pub token: Token,
    /// Tokens below the trunk's last one: 1 is the first token of a candidate.
    pub depth: usize,
    /// Sequence numbers, from 1.
    pub sequences: Vec<i32>,
    pub logits: Logits,
}

/// Branches that are evaluated together: batches of rows, parents before children.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wave {
    pub n_sequences: usize,
    pub batches: Vec<Vec<Row>>,
}

impl Wave {
    /// The cells that the wave occupies after the trunk.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.batches.iter().map(Vec::len).sum()
    }
}

impl Trie {
    /// The trie of `paths`, each a candidate's tokens with the ending token last.
    #[must_use]
    pub fn new(paths: &[Vec<Token>]) -> Self {
        let mut trie = Trie { nodes: vec![Node::new(0, 0, 0)], paths: vec![] };
        for path in paths {
            let mut at = 0;
            let mut nodes = Vec::with_capacity(path.len());
            for &token in path {
                at = trie.child(at, token);
                nodes.push(at);
            }
            trie.paths.push(nodes);
        }
        let inner = (1..trie.nodes.len()).filter(|&node| !trie.nodes[node].children.is_empty()).collect::<Vec<_>>();
        trie.read_only(inner);
        trie
    }

    /// Reads the logits after these nodes and no others; without a word all are read that something follows.
    fn read_only(&mut self, nodes: impl IntoIterator<Item = usize>) {
        for node in &mut self.nodes {
            (node.logits, node.is_evaluated) = (Logits::Unread, false);
        }
        for mut node in nodes {
            self.nodes[node].logits = Logits::Read;
            while node != 0 && !self.nodes[node].is_evaluated {
                self.nodes[node].is_evaluated = true;
                node = self.nodes[node].parent;
            }
        }
    }

    fn child(&mut self, parent: usize, token: Token) -> usize {
        let found = self.nodes[parent].children.iter().copied().find(|&child| self.nodes[child].token == token);
        found.unwrap_or_else(|| {
            let node = self.nodes.len();
            self.nodes.push(Node::new(token, self.nodes[parent].depth + 1, parent));
            self.nodes[parent].children.push(node);
            node
        })
    }

    /// The tokens that may follow `node`, with the nodes that they lead to.
    pub fn children(&self, node: usize) -> impl Iterator<Item = (usize, Token)> + '_ {
        self.nodes[node].children.iter().map(|&child| (child, self.nodes[child].token))
    }

    /// Writes the log-probabilities that were read after `node` to its children, in the order of [`Trie::children`].
    pub fn record(&self, values: &mut [f64], node: usize, logprobs: impl IntoIterator<Item = f64>) {
        for ((child, _), logprob) in self.children(node).zip(logprobs) {
            values[child] = logprob;
        }
    }

    /// The log-probability of every candidate, given each node's own (node 0 counts as 0).
    ///
    /// `skip` tokens at a candidate's beginning are taken as given and do not count.
    #[must_use]
    pub fn path_logprobs(&self, node_logprobs: &[f64], skip: &[usize]) -> Vec<f64> {
        self.paths
            .iter()
            .zip(skip)
            .map(|(path, &skip)| path[skip..].iter().map(|&node| node_logprobs[node]).sum())
            .collect()
    }

    /// Nodes in the trie, the root included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether no candidate was given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    fn is_evaluated(&self, node: usize) -> bool {
        self.nodes[node].is_evaluated
    }

    fn parent(&self, node: usize) -> usize {
        self.nodes[node].parent
    }

    /// Tokens from the trunk's last one to this.
    fn depth(&self, node: usize) -> usize {
        self.nodes[node].depth
    }

    /// A node's row, in no sequence yet.
    fn row(&self, node: usize) -> Row {
        let Node { token, depth, logits, .. } = self.nodes[node];
        Row { node, token, depth, sequences: Vec::new(), logits }
    }

    /// The decodes that evaluate every inner node: waves of at most [`MAX_BRANCHES`] branches, in trie order, each in
    /// batches of at most `first` and then [`MAX_ROWS`] rows.
    ///
    /// `first` is what the first decode of the first wave leaves beside the trunk's last chunk.
    #[must_use]
    pub fn waves(&self, first: usize) -> Vec<Wave> {
        let tips = self.tips();
        let mut limit = first.clamp(1, MAX_ROWS);
        let mut waves = Vec::new();
        for tips in tips.chunks(MAX_BRANCHES) {
            waves.push(self.wave(tips, limit));
            limit = MAX_ROWS;
        }
        waves
    }

    /// The branches in groups that one decode takes whole: at most `max_rows` rows beside the root's own, and `max_branches`
    /// branches. At least one group, which may have no rows; `None` where one branch alone is too long.
    #[must_use]
    pub fn packs(&self, max_rows: usize, max_branches: usize) -> Option<Vec<Wave>> {
        let tips = self.tips();
        let mut packs = Vec::new();
        let mut from = 0;
        while from < tips.len() {
            let fits = |&to: &usize| self.wave(&tips[from..to], usize::MAX).n_rows() <= max_rows;
            let last = tips.len().min(from + max_branches);
            let to = (from + 1..=last).take_while(fits).last()?;
            packs.push(self.wave(&tips[from..to], usize::MAX));
            from = to;
        }
        if packs.is_empty() {
            packs.push(Wave { n_sequences: 0, batches: Vec::new() });
        }
        Some(packs)
    }

    /// Every branch by itself: its rows from the trunk's end to its tip. At least one, which may be empty.
    #[must_use]
    pub fn branches(&self) -> Vec<Vec<Row>> {
        let tips = self.tips();
        if tips.is_empty() {
            return vec![Vec::new()];
        }
        tips.into_iter().map(|tip| self.wave(&[tip], MAX_ROWS).batches.concat()).collect()
    }

    /// The deepest evaluated nodes, depth first: each is the end of one branch.
    fn tips(&self) -> Vec<usize> {
        let mut tips = Vec::new();
        let mut stack = vec![0];
        while let Some(node) = stack.pop() {
            let mut evaluated = self.nodes[node].children.iter().copied().filter(|&c| self.is_evaluated(c)).peekable();
            if evaluated.peek().is_none() && node != 0 {
                tips.push(node);
            }
            let from = stack.len();
            stack.extend(evaluated);
            stack[from..].reverse();
        }
        tips
    }

    fn wave(&self, tips: &[usize], first: usize) -> Wave {
        let mut rows: Vec<Row> = Vec::new();
        let mut row_of = vec![None; self.nodes.len()];
        for (sequence, &tip) in (1..).zip(tips) {
            let mut path = vec![tip];
            while self.nodes[path[path.len() - 1]].parent != 0 {
                path.push(self.nodes[path[path.len() - 1]].parent);
            }
            for &node in path.iter().rev() {
                let row = *row_of[node].get_or_insert_with(|| {
                    rows.push(self.row(node));
                    rows.len() - 1
                });
                rows[row].sequences.push(sequence);
            }
        }
        let mut batches = Vec::new();
        let mut rest = rows.as_slice();
        let mut limit = first;
        while !rest.is_empty() {
            let (batch, behind) = rest.split_at(limit.min(rest.len()));
            batches.push(batch.to_vec());
            rest = behind;
            limit = MAX_ROWS;
        }
        Wave { n_sequences: tips.len(), batches }
    }
}

impl Node {
    fn new(token: Token, depth: usize, parent: usize) -> Node {
        Node { token, depth, parent, children: Vec::new(), logits: Logits::Unread, is_evaluated: false }
    }
}

/// The `n` tokens with the largest logits, the largest first and of equal ones the first; none that is impossible.
#[must_use]
pub fn likeliest(logits: &[f32], n: usize) -> Vec<Token> {
    let mut top: Vec<(f32, Token)> = Vec::with_capacity(n + 1);
    let mut least = f32::NEG_INFINITY;
    for (&logit, token) in logits.iter().zip(0..) {
        if logit > least && n > 0 {
            let at = top.partition_point(|&(larger, _)| larger >= logit);
            top.insert(at, (logit, token));
            top.truncate(n);
            if top.len() == n {
                least = top[n - 1].0;
            }
        }
    }
    top.into_iter().map(|(_, token)| token).collect()
}

/// `log p` of `tokens` under a softmax over `logits`, in double precision.
#[must_use]
pub fn logprobs(logits: &[f32], tokens: impl Iterator<Item = Token>) -> Vec<f64> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let log_sum = sum_of_exponentials(logits, max).ln() + f64::from(max);
    tokens
        .map(|token| {
            usize::try_from(token)
                .ok()
                .and_then(|i| logits.get(i))
                .map_or(f64::NEG_INFINITY, |&l| f64::from(l) - log_sum)
        })
        .collect()
}

/// The sum of `e^(logit - max)`, each term to single precision: a softmax over 150 thousand tokens is a part of every row.
fn sum_of_exponentials(logits: &[f32], max: f32) -> f64 {
    const LANES: usize = 16;
    let mut sum = 0.0f64;
    // Blocks so short that a sum in single precision loses nothing; the order is fixed, so the bits are too.
    for block in logits.chunks(64 * LANES) {
        let mut sums = [0.0f32; LANES];
        let (whole, rest) = block.as_chunks::<LANES>();
        for chunk in whole {
            for (sum, &logit) in sums.iter_mut().zip(chunk) {
                *sum += exponential(logit - max);
            }
        }
        sum += sums.iter().map(|&sum| f64::from(sum)).sum::<f64>();
        sum += rest.iter().map(|&logit| f64::from(exponential(logit - max))).sum::<f64>();
    }
    sum
}

/// `e^x` for `x` of at most 0, in operations that compilers do on several numbers at once: `2^n` for the whole part of the
/// exponent to base 2 and the Taylor polynomial of degree 6 for the rest, which is at most a half. Below `e^-80` it is about 0.
fn exponential(x: f32) -> f32 {
    // Adding it leaves no fraction, and the whole number in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let exponent = x.max(-80.0) * std::f32::consts::LOG2_E;
    let rounded = exponent + ROUND;
    let y = (exponent - (rounded - ROUND)) * std::f32::consts::LN_2;
    let taylor =
        1.0 + y * (1.0 + y * (0.5 + y * (1.0 / 6.0 + y * (1.0 / 24.0 + y * (1.0 / 120.0 + y * (1.0 / 720.0))))));
    let power = f32::from_bits((rounded.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127)) << 23);
    taylor * power
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const END: Token = 99;

    fn rows(trie: &Trie) -> Vec<(Token, Vec<i32>)> {
        trie.waves(MAX_ROWS).into_iter().flat_map(|w| w.batches).flatten().map(|r| (r.token, r.sequences)).collect()
    }

    #[test]
    fn shared_beginnings_are_evaluated_once_and_ends_never() {
        let trie = Trie::new(&[vec![1, 2, END], vec![1, 3, END], vec![4, END], vec![END]]);
        assert_eq!(rows(&trie), [(1, vec![1, 2]), (2, vec![1]), (3, vec![2]), (4, vec![3])]);
    }

    #[test]
    fn a_candidate_that_begins_another_ends_inside_its_branch() {
        let trie = Trie::new(&[vec![5, END], vec![5, 6, END]]);
        assert_eq!(rows(&trie), [(5, vec![1]), (6, vec![1])]);
    }

    #[test]
    fn packs_hold_whole_branches() {
        let trie = Trie::new(&[vec![1, 2, 9], vec![1, 3, 9], vec![4, 9], vec![5, 6, 7, 9]]);
        let rows = |packs: &[Wave]| packs.iter().map(|p| (p.n_sequences, p.n_rows())).collect::<Vec<_>>();
        assert_eq!(rows(&trie.packs(64, 63).unwrap()), [(4, 7)]);
        assert_eq!(rows(&trie.packs(4, 63).unwrap()), [(3, 4), (1, 3)]);
        assert_eq!(rows(&trie.packs(64, 2).unwrap()), [(2, 3), (2, 4)]);
        assert_eq!(trie.packs(2, 63), None);
        assert_eq!(rows(&Trie::new(&[vec![9], vec![8]]).packs(4, 4).unwrap()), [(0, 0)]);
    }

    #[test]
    fn many_candidates_go_in_waves() {
        let paths: Vec<_> = (0..200).map(|i| vec![i, END]).collect();
        let waves = Trie::new(&paths).waves(10);
        assert_eq!(waves.iter().map(|w| w.n_sequences).collect::<Vec<_>>(), [63, 63, 63, 11]);
        assert_eq!(waves[0].batches.iter().map(Vec::len).collect::<Vec<_>>(), [10, 53]);
        assert_eq!(waves[1].batches.iter().map(Vec::len).collect::<Vec<_>>(), [63]);
    }

    #[test]
    fn logprobs_are_a_log_softmax() {
        let logits = [1.0, 2.0, 3.0, -200.0];
        let total: f64 = logprobs(&logits, 0..4).into_iter().map(f64::exp).sum();
        assert!((total - 1.0).abs() < 1e-6);
        assert_eq!(logprobs(&logits, [9].into_iter()), [f64::NEG_INFINITY]);
    }

    #[test]
    fn exponentials_are_those_of_the_standard_library() {
        for i in 0..=80_000 {
            let x = -(i as f32) / 1000.0;
            let (ours, exact) = (f64::from(exponential(x)), f64::from(x).exp());
            assert!((ours / exact - 1.0).abs() < 1e-5, "{x}: {ours} {exact}");
        }
        assert_eq!(exponential(0.0), 1.0);
        assert!(exponential(f32::NEG_INFINITY) < 1e-34 && exponential(-500.0) < 1e-34);
        let logits: Vec<f32> = (0..150_000).map(|i| ((i * 7919) % 1000) as f32 / 50.0).collect();
        let exact: f64 = logits.iter().map(|&logit| (f64::from(logit) - 20.0).exp()).sum();
        assert!((sum_of_exponentials(&logits, 20.0) / exact - 1.0).abs() < 1e-6);
    }

    #[test]
    fn the_likeliest_come_in_their_order() {
        let logits = [1.0, 3.0, f32::NEG_INFINITY, 3.0, f32::NAN, 2.0];
        assert_eq!(likeliest(&logits, 3), [1, 3, 5]);
        assert_eq!(likeliest(&logits, 9), [1, 3, 5, 0]);
        assert!(likeliest(&logits, 0).is_empty());
    }

    proptest! {
        /// Whatever the candidates: every inner node is evaluated, a parent always before its child and in all of its
        /// child's sequences, and no decode is larger than allowed.
        #[test]
        fn waves_are_complete_and_in_order(
            paths in prop::collection::vec(prop::collection::vec(0..6i32, 0..9), 1..150), first in 0usize..70,
        ) {
            let paths: Vec<Vec<Token>> = paths.into_iter().map(|mut p| { p.push(END); p }).collect();
            let trie = Trie::new(&paths);
            let mut evaluated = std::collections::HashSet::new();
            for wave in trie.waves(first) {
                prop_assert!(wave.n_sequences <= MAX_BRANCHES);
                let mut here = std::collections::HashMap::from([(0, (1..=wave.n_sequences as i32).collect::<Vec<_>>())]);
                for batch in &wave.batches {
                    prop_assert!(!batch.is_empty() && batch.len() <= MAX_ROWS);
                    for row in batch {
                        let parent = &here[&trie.nodes[row.node].parent];
                        prop_assert!(row.sequences.iter().all(|s| parent.contains(s)));
                        here.insert(row.node, row.sequences.clone());
                        evaluated.insert(row.node);
                    }
                }
            }
            for node in 0..trie.len() {
                prop_assert_eq!(evaluated.contains(&node), trie.is_evaluated(node));
            }
            let ones = vec![-1.0; trie.len()];
            let lengths: Vec<f64> = paths.iter().map(|p| -(p.len() as f64)).collect();
            prop_assert_eq!(trie.path_logprobs(&ones, &vec![0; paths.len()]), lengths);
        }
    }
}
