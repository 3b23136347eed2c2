//! An event of the log as one line, whatever is in it.

use std::fmt::{self, Write as _};
use std::io::{IsTerminal as _, Write as _};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `2026-11-21T20:29:17.123Z info message name=value`.
    Text,
    /// One object a line.
    Json,
}

impl Format {
    /// Text on a terminal, else JSON.
    #[must_use]
    pub fn of_standard_error() -> Format {
        if std::io::stderr().is_terminal() { Format::Text } else { Format::Json }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a log format: SLM_LOG_FORMAT is `text` or `json`")]
pub struct FormatError(String);

impl FromStr for Format {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Format, FormatError> {
        match text {
            "text" => Ok(Format::Text),
            "json" => Ok(Format::Json),
            other => Err(FormatError(other.to_owned())),
        }
    }
}

/// Writes events as lines.
pub(super) struct Lines {
    format: Format,
    level: Level,
    timestamp: fn(SystemTime) -> String,
    to: Sink,
}

enum Sink {
    StandardError,
    /// For tests.
    #[cfg_attr(not(test), expect(dead_code, reason = "made by tests only"))]
    Memory(Arc<Mutex<Vec<u8>>>),
}

impl Lines {
    pub(super) fn new(format: Format, level: Level, timestamp: fn(SystemTime) -> String) -> Lines {
        Lines { format, level, timestamp, to: Sink::StandardError }
    }

    #[cfg(test)]
    pub(super) fn to(
        format: Format,
        level: Level,
        timestamp: fn(SystemTime) -> String,
        memory: Arc<Mutex<Vec<u8>>>,
    ) -> Lines {
        Lines { format, level, timestamp, to: Sink::Memory(memory) }
    }

    /// The time to the millisecond.
    fn time(&self) -> String {
        let now = SystemTime::now();
        let ms = now.duration_since(UNIX_EPOCH).unwrap_or_default().subsec_millis();
        let seconds = (self.timestamp)(now);
        format!("{}.{ms:03}Z", seconds.trim_end_matches('Z'))
    }
}

/// A request's id, kept with its span.
struct RequestId(String);

/// The fields of an event or a span, in their order.
#[derive(Default)]
struct Fields {
    message: String,
    values: Map<String, Value>,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.message = text;
        } else {
            self.values.insert(field.name().to_owned(), Value::String(text));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.values.insert(field.name().to_owned(), value.into());
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.values.insert(field.name().to_owned(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.values.insert(field.name().to_owned(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.values.insert(field.name().to_owned(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.values.insert(field.name().to_owned(), value.into());
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        *metadata.level() <= self.level
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let (Some(span), Some(Value::String(id))) = (context.span(id), fields.values.remove("id")) {
            span.extensions_mut().insert(RequestId(id));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut spans = context.event_scope(event).into_iter().flatten();
        let id = spans.find_map(|span| span.extensions().get().map(|RequestId(id)| id.clone()));
        let level = event.metadata().level().as_str().to_ascii_lowercase();
        let line = match self.format {
            Format::Json => json(self.time(), level, fields, id),
            Format::Text => text(&self.time(), &level, &fields, id),
        };
        match &self.to {
            // Written at once, so that lines of several threads do not mix. Nobody can be told that it failed.
            Sink::StandardError => drop(std::io::stderr().lock().write_all(line.as_bytes())),
            Sink::Memory(memory) => {
                memory.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(line.as_bytes());
            }
        }
    }
}

fn json(time: String, level: String, fields: Fields, id: Option<String>) -> String {
    let mut line = Map::new();
    line.insert("time".to_owned(), time.into());
    line.insert("level".to_owned(), level.into());
    line.insert("message".to_owned(), fields.message.into());
    if let Some(id) = id {
        line.insert("request_id".to_owned(), id.into());
    }
    line.extend(fields.values);
    format!("{}\n", Value::Object(line))
}

fn text(time: &str, level: &str, fields: &Fields, id: Option<String>) -> String {
    let mut line = format!("{time} {level} {}", harmless(&fields.message));
    let id = id.map(|id| ("request_id", Value::String(id)));
    let values = fields.values.iter().map(|(name, value)| (name.as_str(), value.clone())).chain(id);
    for (name, value) in values {
        let value = match value {
            Value::String(text) if text.is_empty() => continue,
            Value::String(text) if text.contains([' ', '"', '=']) => harmless(&format!("{text:?}")),
            Value::String(text) => harmless(&text),
            value => value.to_string(),
        };
        // Into a string nothing can fail.
        let _ = write!(line, " {name}={value}");
    }
    line.push('\n');
    line
}

/// Without what a terminal would obey or a reader would take for another line.
fn harmless(text: &str) -> String {
    let escape = |c: char| if c.is_control() { c.escape_default().collect::<String>() } else { c.to_string() };
    text.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::{Format, Lines};
    use std::sync::{Arc, Mutex};
    use tracing::Level;
    use tracing_subscriber::layer::SubscriberExt as _;

    fn written(format: Format) -> String {
        let written = Arc::new(Mutex::new(Vec::new()));
        let lines = Lines::to(format, Level::INFO, |_| "2026-11-21T20:00:00Z".to_owned(), Arc::clone(&written));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), || {
            tracing::debug!("not wanted");
            let evil = "a\u{1b}[31m\nlevel=info forged";
            tracing::error!(n = 3, is = true, path = evil, "said {evil}");
        });
        String::from_utf8(written.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn an_event_stays_on_its_line() {
        let text = written(Format::Text);
        let (time, rest) = text.split_at(24);
        assert!(time.starts_with("2026-11-21T20:00:00.") && time.ends_with('Z'), "{time}");
        let expected =
            " error said a\\u{1b}[31m\\nlevel=info forged n=3 is=true path=\"a\\u{1b}[31m\\nlevel=info forged\"\n";
        assert_eq!(rest, expected);
        let json = written(Format::Json);
        assert_eq!(json.matches('\n').count(), 1);
        let line: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(line["message"], "said a\u{1b}[31m\nlevel=info forged");
        assert_eq!((&line["n"], &line["is"]), (&3.into(), &true.into()));
    }

    #[test]
    fn a_format_is_named() {
        assert_eq!("json".parse(), Ok(Format::Json));
        let error = "yaml".parse::<Format>().unwrap_err().to_string();
        assert_eq!(error, "`yaml` is not a log format: SLM_LOG_FORMAT is `text` or `json`");
    }
}
