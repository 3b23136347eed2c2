//! Questions to remotes that go through a hosted batch: which key finds a question's result again, and who has results and takes
//! requests. It knows no file.

use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};

use super::ask::{Ask, Before, Turn};
use slm_values::digest::Hasher;

/// A batch that somebody else's server works on.
pub struct HostedBatch {
    /// The result of the request with this key.
    pub result: Box<Find>,
    /// Writes a request down: its key, path and body. `None` where no more are wanted.
    pub write: Option<Box<Write>>,
}

type Find = dyn Fn(&str) -> Option<HostedResult> + Send + Sync;
type Write = dyn Fn(&str, &str, &Value) -> Result<(), String> + Send + Sync;

/// What a hosted batch says of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum HostedResult {
    /// The body of an answer.
    Answered(Value),
    /// Why it was not answered.
    Failed(String),
}

/// A request whose questions to remotes go through a hosted batch.
#[derive(Debug, Clone)]
pub struct Hosted {
    /// What its questions' keys begin with.
    pub custom_id: Arc<str>,
    pub batch: Arc<HostedBatch>,
}

impl fmt::Debug for HostedBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostedBatch").finish_non_exhaustive()
    }
}

impl Hosted {
    /// The key of what a tier is asked. It is made of what the request asks and not of what a tier before may have said, so that
    /// it stays the same when those are asked again.
    #[must_use]
    pub fn key(&self, tier: &str, ask: &Ask) -> String {
        let asked = match ask {
            Ask::Turn(turn) => of_turn(turn),
            Ask::Question { system, state, question, .. } => json!([system, state, question.schema()]),
            Ask::Prompt(_) | Ask::Vectors { .. } => Value::Null,
        };
        let mut hash = Hasher::new();
        hash.update(json!([tier, asked]).to_string().as_bytes());
        format!("{}/{}", self.custom_id, hash.finish().id())
    }

    /// What the batch says of the request with this key.
    #[must_use]
    pub fn result(&self, key: &str) -> Option<HostedResult> {
        (self.batch.result)(key)
    }
}

fn of_turn(turn: &Turn) -> Value {
    let messages = match &turn.before {
        Before::Chat(chat) => {
            chat.messages.iter().map(|one| json!([one.role.as_str(), one.content])).collect::<Vec<Value>>()
        }
        Before::Prompt(_) => Vec::new(),
    };
    json!([messages, turn.form.schema()])
}
