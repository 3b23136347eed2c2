//! Twins: private-use characters that stand for a person's, and what a rendering of them tells. It renders nothing.

use serde_json::{Map, Value as Json};
use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::Originals;
use super::jinja::is_python_space;
use crate::chat::{Message, Role};
use crate::prompt::{Prompt, RowSpan, Run, RunOffset};
use crate::tools::ToolCall;

/// Planes 15 and 16: where twins come from.
const POOL: [Range<u32>; 2] = [0xF_0000..0xF_FFFE, 0x10_0000..0x10_FFFE];

/// Whose content a character comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Owner {
    /// The last user message.
    Row,
    /// Another message, a tool, a call, or the contract.
    Other,
}

/// Which characters of a content become twins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exchange {
    /// All.
    Whole,
    /// All but the white space at both ends.
    Core,
    /// As `Core`, but no white space at all.
    Visible,
    /// As `Core`, but not those that JSON escapes.
    Escaped,
    /// As `Core`, but neither white space nor the template's own literals in assistants' contents.
    Reasoning(Fences),
    /// As `Reasoning` in all contents, but the literals that hold special tokens only in assistants'.
    Literals(Fences),
}

/// Which characters of a contract, of tools and of calls become twins; white space never does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JsonExchange {
    /// All of its texts and of the names that it gives to fields.
    Texts,
    /// The signs of special tokens. Letters and digits stay, so that a template can look for a field by its name;
    /// special tokens of nothing but letters are then nobody's.
    Signs,
}

/// All words of persons in one conversation.
pub(super) struct Words<'a> {
    /// The messages' contents.
    pub contents: Vec<(&'a str, Owner)>,
    /// Thoughts, names and ids, and every text and name in tools, calls and the contract.
    pub others: Vec<&'a str>,
}

impl<'a> Words<'a> {
    /// Every text and every name of a JSON value.
    pub(super) fn add(&mut self, json: &'a Json) {
        match json {
            Json::String(text) => self.others.push(text),
            Json::Array(items) => items.iter().for_each(|item| self.add(item)),
            Json::Object(fields) => self.add_fields(fields),
            _ => {}
        }
    }

    pub(super) fn add_fields(&mut self, fields: &'a Map<String, Json>) {
        for (name, field) in fields {
            self.others.push(name);
            self.add(field);
        }
    }

    fn all(&self) -> impl Iterator<Item = (&'a str, Owner)> {
        self.contents.iter().copied().chain(self.others.iter().map(|text| (*text, Owner::Other)))
    }
}

/// Whether literals that hold special tokens are set between fences, characters that no text has: in a rendering with
/// fences, such a literal from a content stands at a fence, while the template's own does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fences {
    None,
    Around,
}

impl Exchange {
    /// The same exchange with fences, where it leaves special tokens in contents.
    pub(super) fn fenced(self) -> Option<Exchange> {
        match self {
            Exchange::Reasoning(_) => Some(Exchange::Reasoning(Fences::Around)),
            Exchange::Literals(_) => Some(Exchange::Literals(Fences::Around)),
            Exchange::Whole | Exchange::Core | Exchange::Visible | Exchange::Escaped => None,
        }
    }

    fn has_fences(self) -> bool {
        matches!(self, Exchange::Reasoning(Fences::Around) | Exchange::Literals(Fences::Around))
    }
}

/// The special tokens that can be forged, by first character, the longest first.
#[derive(Debug, Clone, Default)]
pub(super) struct Specials {
    by_first: HashMap<char, Vec<String>>,
    /// Every character of them.
    alphabet: HashSet<char>,
    /// True where a token consists of nothing but characters that JSON escapes.
    escapes_forge: bool,
    /// Tokens of nothing but letters and digits, which a contract could spell in spite of [`JsonExchange::Signs`].
    words: HashSet<String>,
}

impl Specials {
    pub(super) fn new(control: &[String]) -> Self {
        let mut specials = Specials::default();
        let visible = |text: &&String| !text.chars().all(is_python_space);
        for text in control.iter().filter(visible).collect::<HashSet<_>>() {
            specials.alphabet.extend(text.chars());
            specials.escapes_forge |= text.chars().all(|c| is_escaped(c) || is_python_space(c));
            if text.chars().all(|c| is_word(c) || is_python_space(c)) {
                specials.words.insert(text.clone());
            }
            if let Some(first) = text.chars().next() {
                specials.by_first.entry(first).or_default().push(text.clone());
            }
        }
        for texts in specials.by_first.values_mut() {
            texts.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then(a.cmp(b)));
        }
        specials
    }

    fn all(&self) -> impl Iterator<Item = &str> {
        self.by_first.values().flatten().map(String::as_str)
    }

    /// The byte ranges of special tokens in `text`, in order: the longest token first over the whole text, as
    /// llama.cpp partitions a text.
    pub(super) fn find(&self, text: &str) -> Vec<Range<usize>> {
        let mut found: Vec<Range<usize>> = Vec::new();
        for (at, c) in text.char_indices() {
            for special in self.by_first.get(&c).into_iter().flatten() {
                let range = at..at + special.len();
                if text[at..].starts_with(special.as_str()) {
                    found.push(range);
                }
            }
        }
        found.sort_by(|a, b| b.len().cmp(&a.len()).then(a.start.cmp(&b.start)));
        let mut taken = vec![false; text.len()];
        found.retain(|range| {
            let free = taken[range.clone()].iter().all(|&t| !t);
            if free {
                taken[range.clone()].fill(true);
            }
            free
        });
        found.sort_by_key(|range| range.start);
        found
    }
}

/// The twins of one conversation's characters.
pub(super) struct Twins<'a> {
    specials: &'a Specials,
    to: HashMap<(Owner, char), char>,
    from: HashMap<char, (Owner, char)>,
    /// A character that occurs nowhere and stands for nothing; none where all are taken.
    fence: Option<char>,
    /// Literals that no content can use to write a part of a special token that matters.
    harmless: Vec<&'a str>,
    /// Literals that hold special tokens whole; left alone in assistants' contents only.
    telling: Vec<&'a str>,
}

impl<'a> Twins<'a> {
    /// Finds a twin for every character of the words; `plain` is the rendering without twins.
    pub(super) fn new(specials: &'a Specials, literals: &'a [String], plain: &str, words: &Words) -> Self {
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
            for (text, owner) in words.all() {
                for c in text.chars().filter(|c| specials.alphabet.contains(c) == of_special) {
                    if let std::collections::hash_map::Entry::Vacant(entry) = to.entry((owner, c))
                        && let Some(twin) = pool.next()
                    {
                        entry.insert(twin);
                        from.insert(twin, (owner, c));
                    }
                }
            }
        }
        let used = |literal: &&str| {
            literal.chars().nth(1).is_some()
                && !literal.chars().all(is_python_space)
                && words.contents.iter().any(|(content, _)| content.contains(literal))
        };
        let apart = literals.iter().map(String::as_str).filter(used).filter(|l| !borders_special(l, specials));
        let (telling, harmless) = apart.partition(|literal| specials.all().any(|special| literal.contains(special)));
        Twins { specials, to, from, fence, harmless, telling }
    }

    /// The exchanges worth a try, the most telling first; each counts only if its rendering equals the plain one.
    pub(super) fn attempts(&self) -> Vec<Exchange> {
        let mut attempts = vec![Exchange::Whole, Exchange::Core, Exchange::Visible];
        if !self.specials.escapes_forge {
            attempts.push(Exchange::Escaped);
        }
        if !self.harmless.is_empty() || !self.telling.is_empty() {
            attempts.extend([Exchange::Reasoning(Fences::None), Exchange::Literals(Fences::None)]);
        }
        attempts
    }

    /// A content in which characters are exchanged.
    pub(super) fn content(&self, content: &str, owner: Owner, role: Role, how: Exchange) -> String {
        let core = content.trim_matches(is_python_space);
        let start = content.len() - content.trim_start_matches(is_python_space).len();
        let core = if how == Exchange::Whole { 0..content.len() } else { start..start + core.len() };
        let (harmless, telling): (&[&str], &[&str]) = match (how, role) {
            (Exchange::Reasoning(_) | Exchange::Literals(_), Role::Assistant) => (&self.harmless, &self.telling),
            (Exchange::Literals(_), _) => (&self.harmless, &[]),
            _ => (&[], &[]),
        };
        let spaces_stay = match how {
            Exchange::Visible | Exchange::Literals(_) => true,
            Exchange::Reasoning(_) => role == Role::Assistant,
            Exchange::Whole | Exchange::Core | Exchange::Escaped => false,
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
                || (how == Exchange::Escaped && is_escaped(c));
            out.push(if stays { c } else { self.to.get(&(owner, c)).copied().unwrap_or(c) });
        }
        out.extend(fence.filter(|_| within));
        out
    }

    /// A message in which the characters of all words are exchanged.
    pub(super) fn message(&self, message: &Message, owner: Owner, how: Exchange, of_json: JsonExchange) -> Message {
        let content = |text: &str| self.content(text, owner, message.role, how);
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
    pub(super) fn schema(&self, json: &Json, how: JsonExchange) -> Json {
        match json {
            Json::Array(items) => Json::Array(items.iter().map(|item| self.schema(item, how)).collect()),
            Json::Object(fields) => {
                let field = |(name, value): (&String, &Json)| match (how, name.as_str(), value) {
                    // A template asks for these by name, and for what they say.
                    (JsonExchange::Texts, "type", Json::String(kind)) if self.is_type(kind) => {
                        (name.clone(), value.clone())
                    }
                    (JsonExchange::Texts, "type", Json::Array(kinds)) => {
                        let kept = |kind: &Json| kind.as_str().is_some_and(|kind| self.is_type(kind));
                        let kind = |kind: &Json| if kept(kind) { kind.clone() } else { self.schema(kind, how) };
                        (name.clone(), kinds.iter().map(kind).collect())
                    }
                    (JsonExchange::Texts, "properties" | "$defs" | "definitions", Json::Object(named)) => {
                        let named = named.iter().map(|(name, value)| (self.text(name, how), self.schema(value, how)));
                        (name.clone(), Json::Object(named.collect()))
                    }
                    _ => (self.text(name, JsonExchange::Signs), self.schema(value, how)),
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
    fn data(&self, json: &Json, how: JsonExchange) -> Json {
        match json {
            Json::String(value) => Json::String(self.text(value, how)),
            Json::Array(items) => Json::Array(items.iter().map(|item| self.data(item, how)).collect()),
            Json::Object(fields) => Json::Object(self.fields(fields, how)),
            other => other.clone(),
        }
    }

    fn fields(&self, fields: &Map<String, Json>, how: JsonExchange) -> Map<String, Json> {
        fields.iter().map(|(name, value)| (self.text(name, how), self.data(value, how))).collect()
    }

    fn text(&self, text: &str, how: JsonExchange) -> String {
        text.chars().map(|c| self.of_json(c, how)).collect()
    }

    fn of_json(&self, c: char, how: JsonExchange) -> char {
        let escapes_stay = is_escaped(c) && !self.specials.escapes_forge;
        let is_plain = how == JsonExchange::Signs && (is_word(c) || !self.specials.alphabet.contains(&c));
        if is_plain || escapes_stay || is_python_space(c) {
            return c;
        }
        self.to.get(&(Owner::Other, c)).copied().unwrap_or(c)
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
        (how, of_json): (Exchange, JsonExchange),
        fenced: Option<&str>,
    ) -> Prompt {
        let mut specials = self.specials.find(traced);
        if of_json == JsonExchange::Signs {
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
        for c in traced.chars() {
            let start = text.len();
            let Some(&(owner, original)) = self.from.get(&c) else {
                text.push(c);
                continue;
            };
            text.push(original);
            match persons.last_mut() {
                Some(last) if last.end == start => last.end = text.len(),
                _ => persons.push(start..text.len()),
            }
            if owner == Owner::Row {
                row.get_or_insert(start..start).end = text.len();
            }
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

/// The types of JSON Schema, and that of a tool.
const TYPES: [&str; 8] = ["string", "number", "integer", "boolean", "object", "array", "null", "function"];

/// What names of fields and keywords of schemas are made of.
fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// What JSON writes with a backslash.
fn is_escaped(c: char) -> bool {
    c == '"' || c == '\\' || c < ' '
}

/// True if the text ends as a special token begins or begins as one ends, and could so be joined to one. A text that
/// holds special tokens whole is no such thing, nor is one from the middle of a token.
fn borders_special(text: &str, specials: &Specials) -> bool {
    specials.all().any(|special| {
        let ends = special.char_indices().map(|(at, c)| at + c.len_utf8()).filter(|&end| end < special.len());
        let starts = special.char_indices().map(|(at, _)| at).filter(|&start| start > 0);
        ends.into_iter().any(|end| text.ends_with(&special[..end]))
            || starts.into_iter().any(|start| text.starts_with(&special[start..]))
    })
}
