//! A model of the store as a subject: loaded here or in a running server, asked about every row, and once more with its labels
//! turned round where that is wanted.

use super::course::{Asking, Course, Way};
use super::subject::{Subject, turned_round};
use crate::batch::{N_BATCHED, N_CLOSED};
use crate::cli::interrupt;
use crate::cli::load::{self, LoadOptions, Loaded};
use crate::contract::Form;
use crate::digest::Digest;
use crate::engine::{EngineError, Finish, Load};
use crate::eval::answer::{Cost, Failed, Given, Said, Scores, Why};
use crate::eval::record::{Kind, Records};
use crate::failure::Failure;
use crate::infer::{Cancel, Finding, Finished, FitUse, InferError, Reply, Session, wait};

/// Asks a subject about every row and adds it to the records, with its turned round twin where that is wanted.
///
/// # Errors
/// The model cannot be loaded, or is lost.
pub fn ask(subject: &Subject, records: &mut Records, asking: Asking<'_>) -> Result<(), Failure> {
    let turned = if asking.args.asking.permute { turned_round(&subject.form) } else { None };
    let session = if asking.args.asking.rescore { None } else { Some(open(subject, asking, FitUse::Own)?) };
    let of = records.subjects.len();
    let course = course(subject, &subject.form, session.as_ref(), records, asking)?;
    // Written answers depend on what else the engine does.
    let is_scored = matches!(subject.form, Form::Closed(_));
    let evaluation_id = session.as_ref().filter(|_| is_scored).map(|session| session.evaluation_id(subject.scoring));
    let (known, answers) = course.end(Kind::Model { model: subject.name.clone(), evaluation_id })?;
    records.add(known, answers);
    if let Some(form) = turned.filter(|_| !interrupt::happened()) {
        let course = self::course(subject, &form, session.as_ref(), records, asking)?;
        let (known, answers) = course.end(Kind::TurnedRound { of })?;
        records.add(known, answers);
    }
    Ok(())
}

/// Every row in one form, as far as it was asked.
fn course<'a>(
    subject: &'a Subject,
    form: &'a Form,
    session: Option<&Session>,
    records: &'a Records,
    asking: Asking<'a>,
) -> Result<Course<'a>, Failure> {
    let by = session.map(|session| computed_by(subject, form, session));
    let way = Way { name: &subject.variant.name, nth: subject.nth, form, asking: subject.asking(form), by };
    let mut course = Course::of(way, records, asking);
    if let Some(session) = session {
        let n_usual = if matches!(form, Form::Closed(_)) { N_CLOSED } else { N_BATCHED };
        let n_parallel = asking.args.asking.parallel.unwrap_or(n_usual);
        course.run(n_parallel, |text| session.ask(subject.turn(form, text)), finish)?;
    }
    Ok(course)
}

/// Loads a subject's model, with its fit or without.
///
/// # Errors
/// The model cannot be found or loaded.
pub fn open(subject: &Subject, Asking { args, environment, .. }: Asking<'_>, fit: FitUse) -> Result<Session, Failure> {
    let wanted = LoadOptions {
        adapters: &subject.adapters,
        parameters: &subject.parameters,
        compute: &args.compute,
        load: Load::Everything,
        place: args.place(),
        fit,
        keep_alive: None,
    };
    // A model is found once more, for opening takes it.
    let model = load::find(&subject.model.name.to_string(), environment)?;
    let header = model.weights.header()?;
    let Loaded { session, .. } = load::open(model, &header, &wanted, environment)?;
    Ok(session)
}

/// What identifies the answers of a loaded model.
#[must_use]
pub fn computed_by(subject: &Subject, form: &Form, session: &Session) -> String {
    // A question that cannot be asked is refused in each row's place.
    let prompt = session.ready(subject.turn(form, "text"));
    let prompt = prompt.map_or_else(|error| error.to_string(), |ready| ready.prompt_digest());
    let info = session.engine().info();
    let by = format!("{} {prompt} {} {}", session.evaluation_id(subject.scoring), info.n_ctx, info.compute.kv_type);
    Digest::of(by.as_bytes()).id()
}

/// Waits for a row's answer. A failure of the row is its answer; one of the model ends the run.
///
/// # Errors
/// The model is lost.
pub fn finish(reply: Result<Reply, InferError>, cancel: &Cancel) -> Result<Given, Failure> {
    let error = match reply.and_then(|reply| wait(reply.whole(), cancel)) {
        Ok(finished) => return Ok(given(finished)),
        Err(error) => error,
    };
    let why = match &error {
        InferError::Engine(EngineError::Context { .. } | EngineError::TextTooLong { .. }) => Why::TooLong,
        InferError::Engine(
            EngineError::Stopped
            | EngineError::Cancelled
            | EngineError::Crashed { .. }
            | EngineError::Disconnected { .. },
        ) => return Err(error.into()),
        _ => Why::NoAnswer,
    };
    let reason = Failure::from(error).message;
    Ok(Given { said: Said::Failed(Failed { why, reason }), cost: Cost::default(), state: None })
}

fn given(finished: Finished) -> Given {
    let Finished { text, mut end, .. } = finished;
    let state = end.state.take();
    let latency = end.elapsed.saturating_sub(end.timings.queued);
    let cost = Cost {
        latency_ms: latency.as_secs_f64() * 1e3,
        n_prompt: end.counts.prompt as u64,
        n_reused: end.counts.reused as u64,
        n_written: end.counts.generated as u64,
    };
    let said = match end.finding {
        Finding::Closed(answer) => Said::Closed(Scores::of(&answer)),
        Finding::Free | Finding::Open(_) | Finding::Vectors(_) => {
            Said::Text { text, is_cut: end.finish == Finish::Length }
        }
    };
    Given { said, cost, state }
}
