//! Typed questions about one state, each asked by itself, several at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::Service;
use crate::api::problem::Problem;
use crate::api::request_context::RequestContext;
use slm_cascade::Step;
use slm_engine::{Counts, EngineError};
use slm_infer::decide::{FieldAnswer, Question};
use slm_infer::infer::{Ask, End, Finding, InferError};
use slm_values::model_ref::ModelRef;
use slm_values::sampling::Parameters;

/// Questions of one request that the engine holds at once: enough that it never waits, few enough that others come between.
const QUESTIONS_AT_ONCE: usize = 4;

/// Typed questions about one state.
#[derive(Debug, Clone)]
pub struct AskQuestions {
    pub model: String,
    /// Instructions that come before everything else, in place of the Modelfile's.
    pub system: Option<String>,
    pub state: String,
    pub questions: Vec<Arc<Question>>,
}

/// The answers to typed questions, in their order.
#[derive(Debug, Clone)]
pub struct AnsweredQuestions {
    pub model: ModelRef,
    pub answers: Vec<Answered>,
    /// Under which equal questions have equal probabilities; `None` where nothing promises that.
    pub evaluation_id: Option<String>,
    pub elapsed: Duration,
}

/// The answer to one of them, with what it took.
#[derive(Debug, Clone)]
pub struct Answered {
    pub answer: FieldAnswer,
    pub counts: Counts,
    end: End,
}

impl Answered {
    fn of(end: End) -> Result<Answered, InferError> {
        if matches!(end.finding, Finding::Open(Ok(_))) {
            let what = "answers without probabilities, which these questions are answered with";
            return Err(InferError::Elsewhere { who: "remote", what });
        }
        let answer = end.closed_fields().first().cloned().ok_or(EngineError::Stopped)?;
        Ok(Answered { answer, counts: end.counts, end })
    }

    /// Through which tiers of a cascade it went.
    #[must_use]
    pub fn path(&self) -> &[Step] {
        &self.end.path
    }
}

impl Service {
    /// Asks every question of the state by itself.
    ///
    /// # Errors
    /// See [`Kind`](crate::api::problem::Kind); one question that cannot be answered ends the request.
    pub async fn ask_questions(&self, ask: AskQuestions) -> Result<AnsweredQuestions, Problem> {
        let started = Instant::now();
        let opened = self.open(&ask.model, &Parameters::default(), None).await?;
        let context = RequestContext::current();
        let (model, responder, scoring) = (opened.model.clone(), opened.responder.clone(), context.scoring);
        let AskQuestions { system, state, questions, .. } = ask;
        let ledger = self.ledger(&opened, Some(&state), None);
        let sent = questions.into_iter().map(|question| {
            let (responder, system, state) = (responder.clone(), system.clone(), state.clone());
            async move {
                Answered::of(*responder.ask(Ask::Question { system, state, question, scoring })?.whole().await?.end)
            }
        });
        let sent = stream::iter(sent).buffered(QUESTIONS_AT_ONCE);
        let answers = async {
            // All of what goes to a hosted batch is to be written down, also after the first that waits for it.
            if context.hosted.is_some() {
                sent.collect::<Vec<_>>().await.into_iter().collect()
            } else {
                sent.try_collect().await
            }
        };
        let answers: Result<Vec<Answered>, InferError> = context.within(answers).await?;
        let answers = answers.inspect_err(|error| ledger.failed(error))?;
        ledger.answered(answers.iter().map(|answered| &answered.end));
        // All were asked of one engine in one lane.
        let evaluation_id = answers.first().and_then(|answered| answered.end.evaluation_id.clone());
        Ok(AnsweredQuestions { model, answers, evaluation_id, elapsed: started.elapsed() })
    }
}
