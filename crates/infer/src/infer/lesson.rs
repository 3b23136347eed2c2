//! What a model is taught of a closed question: its prompt, the part of the answer that slm gives, and the part that the model is
//! asked for. It sends nothing.

use super::ready::{Prompted, Ready};
use super::{InferError, Session, Turn};
use slm_engine::{Group, PromptToken};
use slm_values::chat::Message;
use slm_values::prompt::{Prompt, Run};

/// The right answer to one field of a closed question, after its prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Lesson {
    /// The prompt, and what stands before the field's value.
    pub given: Prompt,
    /// All of it, to the end of the turn.
    pub whole: Prompt,
    /// The answer as the model would write it, without the end of the turn.
    pub answer: String,
}

/// A lesson as tokens: what is not given is what the model is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LessonTokens {
    pub tokens: Vec<i32>,
    pub n_given: usize,
}

impl Session {
    /// The messages of a conversation as the model's template gets them: instructions, the contract in words, examples. `None` where
    /// the prompt was made by its writer.
    #[must_use]
    pub fn conversation(&self, turn: &Turn) -> Option<Vec<Message>> {
        Some(self.messages_of(turn.chat()?, &turn.form, self.wording(turn.scoring.wording)))
    }

    /// A written answer after its prompt, all of which the model is asked for.
    #[must_use]
    pub fn written(&self, prompt: &Prompt, answer: String) -> Lesson {
        let end = self.turn_end.as_deref().unwrap_or(&self.engine.info().specials.eos);
        let whole = ended(followed(prompt, &answer), end);
        Lesson { given: prompt.clone(), whole, answer }
    }
}

impl Ready {
    /// The right answer to each field whose option is given by its number; a question that is not closed has none. Each field is
    /// answered as it is scored: as though it came first.
    #[must_use]
    pub fn lessons(&self, truths: &[Option<usize>]) -> Vec<Option<Lesson>> {
        let Prompted::Score(request) = &self.request else { return Vec::new() };
        let specials = &self.engine.info().specials;
        let end = request.turn_end.as_deref().unwrap_or(&specials.eos);
        let lesson = |(group, truth): (&Group, &Option<usize>)| {
            let candidate = group.candidates.get((*truth)?)?;
            let spelling = group.spellings.first()?;
            let answer = format!("{}{candidate}{}", spelling.before, spelling.after);
            let given = followed(&request.prompt, &spelling.before);
            let whole = ended(followed(&request.prompt, &answer), end);
            Some(Lesson { given, whole, answer })
        };
        request.groups.iter().zip(truths).map(lesson).collect()
    }

    /// The tokens of a lesson, as the engine makes them.
    ///
    /// # Errors
    /// The engine is gone, or the vocabulary lacks a token.
    pub fn tokens_of(&self, lesson: &Lesson) -> Result<LessonTokens, InferError> {
        let ids = |prompt: &Prompt| -> Result<Vec<i32>, InferError> {
            let tokenized = self.engine.tokenizing(prompt.clone()).wait()?;
            Ok(tokenized.tokens.iter().map(|token: &PromptToken| token.id).collect())
        };
        let (given, tokens) = (ids(&lesson.given)?, ids(&lesson.whole)?);
        let n_given = given.iter().zip(&tokens).take_while(|(one, other)| one == other).count();
        Ok(LessonTokens { n_given: n_given.min(tokens.len().saturating_sub(1)), tokens })
    }
}

/// A prompt with the end of a turn after it, where there is such a token.
fn ended(mut prompt: Prompt, end: &str) -> Prompt {
    if !end.is_empty() {
        prompt.runs.push(Run::Control(end.to_owned()));
    }
    prompt
}

/// A prompt with text after it, tokenized together with the run that it continues.
fn followed(prompt: &Prompt, text: &str) -> Prompt {
    let mut prompt = prompt.clone();
    if text.is_empty() {
        return prompt;
    }
    // An answer forges no special token: it is written like a person's words.
    if let Some(Run::Text { text: last, persons }) = prompt.runs.last_mut() {
        persons.push(last.len()..last.len() + text.len());
        *last += text;
    } else {
        let persons = std::iter::once(0..text.len()).collect();
        prompt.runs.push(Run::Text { text: text.to_owned(), persons });
    }
    prompt
}

#[cfg(test)]
mod tests {
    use super::followed;
    use slm_values::prompt::{Prompt, Run};

    #[test]
    fn an_answer_goes_on_in_the_last_run_of_text() {
        let text = |text: &str, person| Run::Text { text: text.to_owned(), persons: vec![person] };
        let prompt = Prompt { runs: vec![Run::Control("<s>".into()), text("Answer:", 0..3)], ..Prompt::default() };
        let mut expected = prompt.clone();
        expected.runs[1] = Run::Text { text: "Answer: yes".into(), persons: vec![0..3, 7..11] };
        assert_eq!(followed(&prompt, " yes"), expected);
        let header = Prompt::of(Run::Control("<a>".into()));
        assert_eq!(followed(&header, "yes").runs, [Run::Control("<a>".into()), text("yes", 0..3)]);
        assert_eq!(followed(&header, ""), header);
    }
}
