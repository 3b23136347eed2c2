//! Twins: private-use characters that stand for a person's, and what a rendering of them tells. It renders nothing.

use serde_json::{Map, Value as Json};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::jinja::is_python_space;
use super::renderer::Originals;
use super::special_tokens::{SpecialTokenTable, is_escaped, is_word};
use super::twin_policy::{Fences, JsonTwinPolicy, TwinPolicy};
use super::words::{Author, PersonWords};
use crate::chat::{Message, Role};
use crate::prompt::{Prompt, RowSpan, Run, RunOffset};
use crate::tools::ToolCall;

/// Planes 15 and 16: where twins come from.
const POOL: [Range<u32>; 2] = [0xF_0000..0xF_FFFE, 0x10_0000..0x10_FFFE];

/// The types of JSON Schema, and that of a tool.
const TYPES: [&str; 8] = ["string", "number", "integer", "boolean", "object", "array", "null", "function"];

/// The twins of one conversation's characters.
pub(super) struct Twins<'a> {
    specials: &'a SpecialTokenTable,
    to: HashMap<(Author, char), char>,
    from: HashMap<char, (Author, char)>,
    /// A character that occurs nowhere and stands for nothing; `None` where all are taken.
    fence: Option<char>,
    /// Literals that no content can use to write a part of a special token that matters.
    harmless: Vec<&'a str>,
    /// Literals that hold special tokens whole; left alone in assistants' contents only.
    telling: Vec<&'a str>,
}

impl<'a> Twins<'a> {
    /// Finds a twin for every character of the words; `plain` is the rendering without twins.
    pub(super) fn new(
        specials: &'a SpecialTokenTable,
        literals: &'a [String],
        plain: &str,
        words: &PersonWords,
    ) -> Self {
        let taken: HashSet<char> = (words.all().flat_map(|(text, _)| text.chars()))
            .chain(plain.chars())
            .chain(specials.alphabet.iter().copied())
            .filter(|&c| u32::from(c) >= POOL[0].start)
            .collect();
        let mut pool = POOL.into_iter().flatten().filter_map(char::from_u32).filter(|c| !taken.contains(c));
        let fence = pool.next();
        let (mut to, mut from) = (HashMap::new(), HashMap::new());
        // The characters of special tokens come first: with more distinct characters than twins, others go without.
        for of_special in [true, false] {
            for (text, author) in words.all() {
                for c in text.chars().filter(|c| specials.alphabet.contains(c) == of_special) {
                    if let Entry::Vacant(entry) = to.entry((author, c))
                        && let Some(twin) = pool.next()
                    {
                        entry.insert(twin);
                        from.insert(twin, (author, c));
                    }
                }
            }
        }
        let used = |literal: &&str| {
            literal.chars().nth(1).is_some()
                && !literal.chars().all(is_python_space)
                && words.contents.iter().any(|(content, _)| content.contains(literal))
        };
        let apart = literals.iter().map(String::as_str).filter(used).filter(|l| !specials.borders(l));
        let (telling, harmless) = apart.partition(|literal| specials.all().any(|special| literal.contains(special)));
        Twins { specials, to, from, fence, harmless, telling }
    }

    /// The exchanges worth a try, the most telling first; each counts only if its rendering equals the plain one.
    pub(super) fn attempts(&self) -> Vec<TwinPolicy> {
        let mut attempts = vec![TwinPolicy::Whole, TwinPolicy::Core, TwinPolicy::Visible];
        if !self.specials.escapes_forge {
            attempts.push(TwinPolicy::Escaped);
        }
        if !self.harmless.is_empty() || !self.telling.is_empty() {
            attempts.extend([TwinPolicy::Reasoning(Fences::None), TwinPolicy::Literals(Fences::None)]);
        }
        attempts
    }

    /// A content in which characters are exchanged.
    pub(super) fn content(&self, content: &str, author: Author, role: Role, how: TwinPolicy) -> String {
        let core = content.trim_matches(is_python_space);
        let start = content.len() - content.trim_start_matches(is_python_space).len();
        let core = if how == TwinPolicy::Whole { 0..content.len() } else { start..start + core.len() };
        let (harmless, telling): (&[&str], &[&str]) = match (how, role) {
            (TwinPolicy::Reasoning(_) | TwinPolicy::Literals(_), Role::Assistant) => (&self.harmless, &self.telling),
            (TwinPolicy::Literals(_), _) => (&self.harmless, &[]),
            _ => (&[], &[]),
        };
        let spaces_stay = match how {
            TwinPolicy::Visible | TwinPolicy::Literals(_) => true,
            TwinPolicy::Reasoning(_) => role == Role::Assistant,
            TwinPolicy::Whole | TwinPolicy::Core | TwinPolicy::Escaped => false,
        };
        let told = covered(content, telling);
        let known = covered(content, harmless);
        let fence = self.fence.filter(|_| how.has_fences());
        let mut out = String::with_capacity(content.len());
        let mut within = false;
        for (at, c) in content.char_indices() {
            if told[at] != within {
                within = told[at];
                out.extend(fence);
            }
            let stays = !core.contains(&at)
                || told[at]
                || known[at]
                || (spaces_stay && is_python_space(c))
                || (how == TwinPolicy::Escaped && is_escaped(c));
            out.push(if stays { c } else { self.to.get(&(author, c)).copied().unwrap_or(c) });
        }
        out.extend(fence.filter(|_| within));
        out
    }

    /// A message in which the characters of all words are exchanged.
    pub(super) fn message(
        &self,
        message: &Message,
        author: Author,
        how: TwinPolicy,
        of_json: JsonTwinPolicy,
    ) -> Message {
        let content = |text: &str| self.content(text, author, message.role, how);
        let name = |text: &String| self.text(text, of_json);
        let call = |call: &ToolCall| ToolCall {
            id: call.id.as_ref().map(name),
            name: name(&call.name),
            arguments: self.fields(&call.arguments, of_json),
        };
        Message {
            role: message.role,
            content: content(&message.content),
            thinking: message.thinking.as_deref().map(content),
            tool_calls: message.tool_calls.iter().map(call).collect(),
            tool_name: message.tool_name.as_ref().map(name),
            tool_call_id: message.tool_call_id.as_ref().map(name),
        }
    }

    /// A JSON Schema, or a tool with one, in which the characters of texts and names are exchanged.
    pub(super) fn schema(&self, json: &Json, how: JsonTwinPolicy) -> Json {
        match json {
            Json::Array(items) => Json::Array(items.iter().map(|item| self.schema(item, how)).collect()),
            Json::Object(fields) => {
                let field = |(name, value): (&String, &Json)| match (how, name.as_str(), value) {
                    // A template asks for these by name, and for what they say.
                    (JsonTwinPolicy::Texts, "type", Json::String(kind)) if self.is_type(kind) => {
                        (name.clone(), value.clone())
                    }
                    (JsonTwinPolicy::Texts, "type", Json::Array(kinds)) => {
                        let kept = |kind: &Json| kind.as_str().is_some_and(|kind| self.is_type(kind));
                        let kind = |kind: &Json| if kept(kind) { kind.clone() } else { self.schema(kind, how) };
                        (name.clone(), kinds.iter().map(kind).collect())
                    }
                    (JsonTwinPolicy::Texts, "properties" | "$defs" | "definitions", Json::Object(named)) => {
                        let named = named.iter().map(|(name, value)| (self.text(name, how), self.schema(value, how)));
                        (name.clone(), Json::Object(named.collect()))
                    }
                    _ => (self.text(name, JsonTwinPolicy::Signs), self.schema(value, how)),
                };
                Json::Object(fields.iter().map(field).collect::<Map<_, _>>())
            }
            other => self.data(other, how),
        }
    }

    /// Whether a template may be shown this `type` as it is.
    fn is_type(&self, kind: &str) -> bool {
        TYPES.contains(&kind) && !self.specials.words.iter().any(|word| word.contains(kind) || kind.contains(word))
    }

    /// Any JSON in which the characters of texts and names are exchanged.
    fn data(&self, json: &Json, how: JsonTwinPolicy) -> Json {
        match json {
            Json::String(value) => Json::String(self.text(value, how)),
            Json::Array(items) => Json::Array(items.iter().map(|item| self.data(item, how)).collect()),
            Json::Object(fields) => Json::Object(self.fields(fields, how)),
            other => other.clone(),
        }
    }

    fn fields(&self, fields: &Map<String, Json>, how: JsonTwinPolicy) -> Map<String, Json> {
        fields.iter().map(|(name, value)| (self.text(name, how), self.data(value, how))).collect()
    }

    fn text(&self, text: &str, how: JsonTwinPolicy) -> String {
        text.chars().map(|c| self.of_json(c, how)).collect()
    }

    fn of_json(&self, c: char, how: JsonTwinPolicy) -> char {
        let escapes_stay = is_escaped(c) && !self.specials.escapes_forge;
        let is_plain = how == JsonTwinPolicy::Signs && (is_word(c) || !self.specials.alphabet.contains(&c));
        if is_plain || escapes_stay || is_python_space(c) {
            return c;
        }
        self.to.get(&(Author::Other, c)).copied().unwrap_or(c)
    }

    /// What each twin stands for.
    pub(super) fn originals(&self) -> Originals {
        self.from.iter().map(|(&twin, &(_, c))| (twin, c)).collect::<HashMap<_, _>>().into()
    }

    /// A rendering with every twin translated back.
    pub(super) fn back(&self, traced: &str) -> String {
        traced.chars().map(|c| self.from.get(&c).map_or(c, |&(_, original)| original)).collect()
    }

    /// Splits a rendering of twins at the special tokens that the template wrote; `fenced` is the same rendering with
    /// fences, where contents still hold special tokens.
    pub(super) fn prompt(
        &self,
        traced: &str,
        (how, of_json): (TwinPolicy, JsonTwinPolicy),
        fenced: Option<&str>,
    ) -> Prompt {
        let mut specials = self.specials.find(traced);
        if of_json == JsonTwinPolicy::Signs {
            specials.retain(|range| !self.specials.words.contains(&traced[range.clone()]));
        }
        if how.fenced().is_some() && !self.telling.is_empty() {
            let found = fenced.map(|text| (text, self.specials.find(text))).filter(|(text, ranges)| {
                let texts = |of: &Range<usize>| &text[of.clone()];
                ranges.iter().map(texts).eq(specials.iter().map(|of| &traced[of.clone()]))
            });
            let at_fence = |text: &str, of: &Range<usize>| {
                text[..of.start].chars().next_back() == self.fence || text[of.end..].chars().next() == self.fence
            };
            let mut index = 0;
            specials.retain(|range| {
                index += 1;
                let exposed = self.telling.iter().any(|literal| literal.contains(&traced[range.clone()]));
                let by_template = match (&found, self.fence) {
                    (Some((text, ranges)), Some(_)) => !at_fence(text, &ranges[index - 1]),
                    _ => false,
                };
                !exposed || by_template
            });
        }
        let mut prompt = Prompt::default();
        let mut at = 0;
        for special in specials {
            self.push_text(&traced[at..special.start], &mut prompt);
            prompt.runs.push(Run::Control(traced[special.clone()].to_owned()));
            at = special.end;
        }
        self.push_text(&traced[at..], &mut prompt);
        prompt
    }

    fn push_text(&self, traced: &str, prompt: &mut Prompt) {
        if traced.is_empty() {
            return;
        }
        let run = prompt.runs.len();
        let mut text = String::with_capacity(traced.len());
        let mut persons: Vec<Range<usize>> = Vec::new();
        let mut row: Option<Range<usize>> = None;
        let mut beside: Option<usize> = None;
        for c in traced.chars() {
            let start = text.len();
            let Some(&(author, original)) = self.from.get(&c) else {
                text.push(c);
                continue;
            };
            text.push(original);
            match persons.last_mut() {
                Some(last) if last.end == start => last.end = text.len(),
                _ => persons.push(start..text.len()),
            }
            match author {
                Author::Row => row.get_or_insert(start..start).end = text.len(),
                Author::Beside => {
                    beside.get_or_insert(start);
                }
                Author::Other => {}
            }
        }
        if let Some(offset) = beside {
            prompt.row_start.get_or_insert(RunOffset { run, offset });
        }
        if let Some(range) = row {
            prompt.row_start.get_or_insert(RunOffset { run, offset: range.start });
            prompt.row = Some(RowSpan { run, range });
        }
        prompt.runs.push(Run::Text { text, persons });
    }
}

/// For each byte of `text`, whether one of the literals covers it.
fn covered(text: &str, literals: &[&str]) -> Vec<bool> {
    let mut covered = vec![false; text.len()];
    for literal in literals {
        for (at, found) in text.match_indices(literal) {
            covered[at..at + found.len()].fill(true);
        }
    }
    covered
}
