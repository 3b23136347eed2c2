//! Separates what a model thinks before it answers from the answer, while both come in; it knows no tokens.
//!
//! A thought is between two tags at the beginning of the text, or the prompt has opened it already. White space around
//! it belongs to neither. However the text is cut into pieces, the result is the same.

/// The tags around a thought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tags {
    pub open: &'static str,
    pub close: &'static str,
}

impl Tags {
    /// The tags that models use.
    pub const ALL: [Tags; 5] = [
        Tags { open: "<think>", close: "</think>" },
        Tags { open: "<thinking>", close: "</thinking>" },
        // Mistral's and Command's, which are special tokens of their vocabularies.
        Tags { open: "[THINK]", close: "[/THINK]" },
        Tags { open: "<|START_THINKING|>", close: "<|END_THINKING|>" },
        // Gemma 4's: a channel of that name.
        Tags { open: "<|channel>thought", close: "<channel|>" },
    ];

    /// Whether a prompt ends in a thought that it has just opened.
    #[must_use]
    pub fn are_open_at_the_end(&self, prompt: &str) -> bool {
        prompt.trim_end().ends_with(self.open)
    }

    /// Their special tokens: where they are CONTROL tokens, their texts must come out of the engine for a thought to be seen.
    #[must_use]
    pub fn marks(&self) -> [&'static str; 2] {
        [self.open.strip_suffix("thought").unwrap_or(self.open), self.close]
    }
}

/// A part of what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ThinkingPart {
    Thinking(String),
    /// `at` is the place of the text's first byte in all that was written.
    Text {
        text: String,
        at: usize,
    },
}

/// Separates thought and answer, for one text.
#[derive(Debug, Clone)]
pub struct Splitter {
    tags: Tags,
    state: ThinkingState,
    /// What is not yet decided.
    held: String,
    /// Bytes before `held`.
    n_before: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ThinkingState {
    /// Before anything but white space.
    Start,
    /// In a thought of which nothing but white space was written.
    Opened,
    Thought,
    /// After a thought, before anything but white space.
    Closed,
    Answer,
}

impl Splitter {
    /// For the text that follows a prompt, which may have opened the thought.
    #[must_use]
    pub fn new(tags: Tags, prompt: &str) -> Self {
        let state = if tags.are_open_at_the_end(prompt) { ThinkingState::Opened } else { ThinkingState::Start };
        Splitter { tags, state, held: String::new(), n_before: 0 }
    }

    /// Takes the next piece of the text and gives what is decided by it.
    pub fn push(&mut self, piece: &str) -> Vec<ThinkingPart> {
        self.held.push_str(piece);
        let mut parts = Vec::new();
        while self.step(&mut parts) {}
        parts
    }

    /// Gives what is left when nothing more comes. A thought that was not closed stays one.
    #[must_use]
    pub fn finish(mut self) -> Vec<ThinkingPart> {
        let mut parts = Vec::new();
        match self.state {
            ThinkingState::Opened | ThinkingState::Closed => {}
            ThinkingState::Thought => self.think(self.held.trim_end().len(), &mut parts),
            ThinkingState::Start | ThinkingState::Answer => self.answer(&mut parts),
        }
        parts
    }

    /// Decides what it can; false where more has to be written first.
    fn step(&mut self, parts: &mut Vec<ThinkingPart>) -> bool {
        let Tags { open, close } = self.tags;
        let n_spaces = self.held.len() - self.held.trim_start().len();
        let begun = &self.held[n_spaces..];
        match self.state {
            ThinkingState::Start if begun.starts_with(open) => self.go_to(ThinkingState::Opened, n_spaces + open.len()),
            ThinkingState::Start if open.starts_with(begun) => false,
            ThinkingState::Start => self.go_to(ThinkingState::Answer, 0),
            ThinkingState::Opened | ThinkingState::Closed if begun.is_empty() => {
                self.forget(n_spaces);
                false
            }
            ThinkingState::Opened => self.go_to(ThinkingState::Thought, n_spaces),
            ThinkingState::Closed => self.go_to(ThinkingState::Answer, n_spaces),
            ThinkingState::Thought => match self.held.find(close) {
                Some(at) => {
                    self.think(self.held[..at].trim_end().len(), parts);
                    let n_left = self.held.find(close).unwrap_or(0);
                    self.go_to(ThinkingState::Closed, n_left + close.len())
                }
                None => {
                    let may_close = |from: &usize| close.starts_with(&self.held[*from..]);
                    let sure = (0..self.held.len()).filter(|&at| self.held.is_char_boundary(at)).find(may_close);
                    let n_bytes = self.held[..sure.unwrap_or(self.held.len())].trim_end().len();
                    self.think(n_bytes, parts);
                    false
                }
            },
            ThinkingState::Answer => {
                self.answer(parts);
                false
            }
        }
    }

    fn go_to(&mut self, state: ThinkingState, n_bytes: usize) -> bool {
        self.state = state;
        self.forget(n_bytes);
        true
    }

    fn forget(&mut self, n_bytes: usize) {
        self.held.drain(..n_bytes);
        self.n_before += n_bytes;
    }

    fn think(&mut self, n_bytes: usize, parts: &mut Vec<ThinkingPart>) {
        if n_bytes > 0 {
            parts.push(ThinkingPart::Thinking(self.held[..n_bytes].to_owned()));
            self.forget(n_bytes);
        }
    }

    fn answer(&mut self, parts: &mut Vec<ThinkingPart>) {
        if !self.held.is_empty() {
            let (text, at) = (std::mem::take(&mut self.held), self.n_before);
            self.n_before += text.len();
            parts.push(ThinkingPart::Text { text, at });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TAGS: Tags = Tags::ALL[0];

    fn split<'p>(prompt: &str, pieces: impl IntoIterator<Item = &'p str>) -> (String, String) {
        let mut splitter = Splitter::new(TAGS, prompt);
        let mut parts: Vec<ThinkingPart> = pieces.into_iter().flat_map(|piece| splitter.push(piece)).collect();
        parts.extend(splitter.finish());
        let (mut thought, mut answer) = (String::new(), String::new());
        for part in parts {
            match part {
                ThinkingPart::Thinking(text) => thought += &text,
                ThinkingPart::Text { text, .. } => answer += &text,
            }
        }
        (thought, answer)
    }

    fn check(prompt: &str, text: &str, thought: &str, answer: &str) {
        assert_eq!(split(prompt, [text]), (thought.to_owned(), answer.to_owned()), "{text}");
        let letters: Vec<String> = text.chars().map(String::from).collect();
        assert_eq!(
            split(prompt, letters.iter().map(String::as_str)),
            (thought.to_owned(), answer.to_owned()),
            "{text}"
        );
    }

    #[test]
    fn thought_and_answer_are_told_apart() {
        let (closed, open) = ("assistant\n", "assistant\n<think>\n");
        check(closed, "<think>\nHm, é <b>.\n\n so\n</think>\n\nYes.\n", "Hm, é <b>.\n\n so", "Yes.\n");
        check(closed, " \n<think></think>Yes.", "", "Yes.");
        check(closed, "Yes. <think>no</think>", "", "Yes. <think>no</think>");
        check(closed, "<thin ice", "", "<thin ice");
        check(closed, "<think>\nHm </thin", "Hm </thin", "");
        check(closed, "<think>a</think><think>b</think>", "a", "<think>b</think>");
        check(closed, " \n", "", " \n");
        check(open, "Hm.\n</think>\n\nYes.", "Hm.", "Yes.");
        check(open, "\n</think>\nYes.", "", "Yes.");
        check(open, "never closed ", "never closed", "");
        check("<think>\n\n</think>\n\n", "Yes.", "", "Yes.");
    }

    #[test]
    fn thoughts_come_as_soon_as_they_are_sure() {
        let mut splitter = Splitter::new(Tags::ALL[2], "");
        let thinking = |text: &str| vec![ThinkingPart::Thinking(text.to_owned())];
        assert_eq!(splitter.push("[THINK]It is"), thinking("It is"));
        assert_eq!(splitter.push(" so \n"), thinking(" so"));
        assert_eq!(splitter.push("[1]."), thinking(" \n[1]."));
        assert_eq!(splitter.push("[/THINK]\n"), vec![]);
        assert_eq!(splitter.push("\nYes"), vec![ThinkingPart::Text { text: "Yes".to_owned(), at: 31 }]);
        assert_eq!(splitter.push(" [/THINK]"), vec![ThinkingPart::Text { text: " [/THINK]".to_owned(), at: 34 }]);
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(
            pieces in prop::collection::vec(
                prop_oneof![
                    Just("<think>"), Just("</think>"), Just("<"), Just("</"), Just("think>"), Just(" "), Just("\n"), Just("é"),
                    Just("words"),
                ], 0..12),
            cuts in prop::collection::vec(0usize..5, 0..30),
            is_open in prop::bool::ANY,
        ) {
            let text = pieces.concat();
            let prompt = if is_open { "<think>" } else { "" };
            let mut letters = text.chars();
            let mut cut: Vec<String> = cuts.iter().map(|&n| letters.by_ref().take(n).collect()).collect();
            cut.push(letters.collect());
            let (thought, answer) = split(prompt, [text.as_str()]);
            prop_assert_eq!(split(prompt, cut.iter().map(String::as_str)), (thought, answer.clone()));
            if !is_open && !text.contains("<think>") {
                prop_assert_eq!(answer, text);
            }
        }
    }
}
