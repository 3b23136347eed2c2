//! A cascade and what it is asked through: the models of its tiers, what it has cost so far, and who is told of each text's path.

mod course;
mod drift;
mod handing;

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::json;
use tokio::runtime::Handle;

use super::Responder;
use crate::decide::{Answer, ModelFit};
use crate::infer::ask::{Ask, Turn};
use crate::infer::hosted::Hosted;
use crate::infer::reply::Reply;
use crate::infer::{Defaults, InferError};
use course::Course;
use drift::Recent;
use handing::handed;
use slm_cascade::{Cascade, Draft, Reason, Spending, Step};
use slm_values::digest::Hasher;

/// A label that a tier gave, with its field; the field without a name is that of an answer that is one value.
pub type Label = (Option<String>, serde_json::Value);

/// What a future of a tier's opening gives.
pub type Opening = Pin<Box<dyn Future<Output = Result<Held, String>> + Send>>;

/// Opens the models of a cascade's tiers when they are needed: loads them, or has a server lend them.
pub trait OpenTier: fmt::Debug + Send + Sync {
    /// The tier of this number, counted from 0; or a sentence that says why it cannot be asked.
    fn open(&self, nth: usize) -> Opening;
}

/// A tier's model, which stays while this lives.
pub struct Held {
    pub responder: Responder,
    pub hold: Option<Box<dyn Any + Send + Sync>>,
}

/// A cascade with its Modelfile's settings. It is shared by all of its requests, which are counted together.
#[derive(Debug)]
pub struct CascadeModel {
    pub cascade: Cascade,
    pub defaults: Defaults,
    /// Identifies what its layer says.
    pub identity: String,
    spending: Mutex<Spending>,
    /// The last answers of tiers that look at how they are spread.
    recent: Mutex<HashMap<usize, Recent>>,
    /// The number of the day, from any day on.
    today: fn() -> i64,
    /// Where other processes find what a day has cost; `None` where nobody else asks this cascade.
    purse: Option<Purse>,
    /// Where they count together how many texts go on.
    share: Option<SharedShare>,
    /// Whose threads measure time and speak to the network.
    runtime: Handle,
}

/// What a day has cost in all processes: adds an amount, which may be 0, and gives the sum. It may wait for a disk.
#[derive(Clone)]
pub struct Purse(pub Arc<dyn Fn(i64, f64) -> Option<f64> + Send + Sync>);

impl fmt::Debug for Purse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Purse").finish_non_exhaustive()
    }
}

/// How many texts may go on in all processes: adds what texts have added, and says whether one more may. It may wait for a disk.
#[derive(Clone)]
pub struct SharedShare(pub Arc<dyn Fn(f64) -> Option<bool> + Send + Sync>);

impl fmt::Debug for SharedShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedShare").finish_non_exhaustive()
    }
}

/// What a cascade is asked through: its tiers' models, and who is told of each text's path.
#[derive(Debug, Clone)]
pub struct CascadeDoor {
    pub model: Arc<CascadeModel>,
    pub opener: Arc<dyn OpenTier>,
    pub watcher: Option<Watcher>,
    /// Through which its remotes are asked, where that is not at once.
    pub hosted: Option<Hosted>,
}

/// What is said where a tier's model is another one than that of which the cascade was made.
#[must_use]
pub fn replaced(cascade: &dyn fmt::Display, tier: &dyn fmt::Display) -> String {
    format!(
        "`{tier}` was replaced since the cascade `{cascade}` was made of it, so that its thresholds may not hold; create \
         `{cascade}` again from its file"
    )
}

/// Is told of every text's path through the tiers, that of one without an answer too.
#[derive(Clone)]
pub struct Watcher(pub Arc<Watch>);

/// What a [`Watcher`] does with a path.
pub type Watch = dyn Fn(&[Step]) + Send + Sync;

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher").finish_non_exhaustive()
    }
}

impl CascadeModel {
    #[must_use]
    pub fn new(
        cascade: Cascade,
        defaults: Defaults,
        identity: String,
        today: fn() -> i64,
        runtime: Handle,
    ) -> CascadeModel {
        let (spending, recent) = (Mutex::default(), Mutex::default());
        CascadeModel { cascade, defaults, identity, spending, recent, today, purse: None, share: None, runtime }
    }

    /// The same with what other processes know of a day's cost.
    #[must_use]
    pub fn with_purse(self, purse: Purse) -> CascadeModel {
        CascadeModel { purse: Some(purse), ..self }
    }

    /// The same with a count of the texts that go on in all processes.
    #[must_use]
    pub fn with_share(self, share: SharedShare) -> CascadeModel {
        CascadeModel { share: Some(share), ..self }
    }

    /// Lets a text go on to a second tier, or says why not.
    async fn go_on(&self) -> Result<(), Reason> {
        let budget = self.cascade.budget;
        if let (Some(most), Some(SharedShare(share))) = (budget.share, self.share.clone()) {
            let added = self.spending().untold();
            if let Ok(Some(may)) = self.runtime.spawn_blocking(move || share(added)).await {
                return if may { Ok(()) } else { Err(Reason::Share { most }) };
            }
        }
        // Where nobody else counts, or their count cannot be had.
        self.spending().go_on(&budget)
    }

    /// Notes what an answer has cost, 0 to learn what others have spent; only where that is limited.
    async fn spend(&self, amount: f64) {
        let day = (self.today)();
        self.spending().paid(day, amount);
        let Some(Purse(purse)) = self.purse.clone().filter(|_| self.cascade.budget.dollars_per_day.is_some()) else {
            return;
        };
        if let Ok(Some(sum)) = self.runtime.spawn_blocking(move || purse(day, amount)).await {
            self.spending().known(day, sum);
        }
    }

    fn spending(&self) -> MutexGuard<'_, Spending> {
        self.spending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the tier of this number is asked, of what a client asks: with its instructions, with what it is told of the last answer
    /// before it, and masked where it leaves the machine. `so_far` are the labels that earlier tiers gave.
    ///
    /// # Errors
    /// Why it is not asked.
    pub fn asks(&self, nth: usize, ask: &Ask, (so_far, draft): (&[Label], Option<&Draft>)) -> Result<Ask, Reason> {
        if let Some(most) = self.cascade.tiers[nth].max_characters {
            let found = ask.text().chars().count();
            if found > most {
                return Err(Reason::TooLong { found, most });
            }
        }
        self.cascade.may_leave(nth, so_far)?;
        handed(ask, self, nth, draft)
    }

    /// Notes an answer of a tier that looks at how they are spread; says how they are spread otherwise than its fit's rows were.
    fn drifted(&self, nth: usize, fit: Option<&ModelFit>, (answer, text): (&Answer, &str)) -> Option<String> {
        let n = self.cascade.tiers[nth].drift?;
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.entry(nth).or_default().note(n, fit?.fit(), answer, text.chars().count())
    }

    /// Identifies what a turn asks without the text.
    pub(super) fn prompt_digest(&self, turn: &Turn) -> String {
        let chat = turn.chat();
        let (_, before) = chat.and_then(|chat| chat.messages.split_last()).unzip();
        let before = before.into_iter().flatten().map(|message| json!([message.role.as_str(), message.content]));
        let asked = json!([self.identity, before.collect::<Vec<_>>(), turn.form.schema()]);
        let mut hash = Hasher::new();
        hash.update(asked.to_string().as_bytes());
        hash.finish().id()
    }
}

impl CascadeDoor {
    /// Asks the tiers, and returns at once.
    ///
    /// # Errors
    /// It is nothing that a cascade can be asked.
    pub(super) fn ask(&self, ask: Ask) -> Result<Reply, InferError> {
        let what = match &ask {
            Ask::Turn(_) | Ask::Question { .. } => None,
            Ask::Prompt(_) => Some("tells nothing of a prompt's own tokens"),
            Ask::Vectors { .. } => Some("makes no embeddings"),
        };
        if let Some(what) = what {
            return Err(InferError::Elsewhere { who: "cascade", what });
        }
        self.model.spending().text_came(&self.model.cascade.budget);
        Ok(Reply::of_work(Course::new(self.clone(), ask).run()))
    }
}
