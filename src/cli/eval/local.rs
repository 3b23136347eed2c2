//! A model of the store as a subject: loaded here or in a running server, asked about every row, and once more with its labels
//! turned round where that is wanted.

use std::time::{Duration, Instant};

use super::course::{Asking, Course, Judging, Way};
use super::peak::Peak;
use super::subject::{Subject, turned_round};
use crate::batch::{N_BATCHED, N_CLOSED};
use crate::cli::interrupt;
use crate::cli::load::{self, LoadOptions, Loaded};
use crate::contract::{Form, Violation};
use crate::digest::Digest;
use crate::engine::{EngineError, Finish, Load, StateAt};
use crate::eval::answer::{Cost, Failed, Given, Said, Scores, Why};
use crate::eval::fitted::fitted;
use crate::eval::record::{Kind, Records};
use crate::failure::Failure;
use crate::infer::{Cancel, Finding, Finished, FitUse, InferError, Piece, Pieces, Reply, Responder, Turn, wait};
use crate::remote::RemoteError;
use crate::store::Weights;

/// Asks a subject about every row and adds it to the records: as its model's fit makes its answers, where it has one, and as they
/// are; with its turned round twin where that is wanted.
///
/// # Errors
/// The model cannot be loaded, or is lost; its fit was made for another way of asking.
pub fn ask(subject: &Subject, records: &mut Records, asking: Asking<'_>) -> Result<(), Failure> {
    let turned = if asking.args.asking.permute { turned_round(&subject.form) } else { None };
    let is_elsewhere = matches!(subject.model.weights, Weights::Elsewhere(_));
    let used = if subject.fit.is_some() || is_elsewhere { FitUse::Own } else { FitUse::None };
    // Before it is loaded, so that what others needed is not in it.
    let peak = Peak::begin();
    let responder = if asking.args.asking.rescore { None } else { Some(open(subject, asking, used)?) };
    let session = responder.as_ref().and_then(|responder| responder.session().ok());
    if let Some(session) = session
        && let Err(error @ InferError::StaleFit(_)) = session.ready(subject.turn(&subject.form, "text"))
    {
        return Err(error.into());
    }
    let kind = |evaluation_id| Kind::Model { model: subject.name.clone(), evaluation_id };
    // Written answers depend on what else the engine does.
    let is_scored = matches!(subject.form, Form::Closed(_));
    let evaluation_id = session.filter(|_| is_scored).map(|session| session.evaluation_id(subject.scoring));
    let early = subject.fit.as_ref().filter(|fit| fit.fit().early.is_some());
    if let (Some(_), Some(responder)) = (early, &responder) {
        let (mut known, answers) =
            early_course(subject, responder, records, asking)?.end(kind(evaluation_id.clone()))?;
        known.peak_memory_bytes = session.and_then(|session| peak.of(session.engine().pid()));
        records.add(known, answers);
    }
    let course = course(subject, &subject.form, responder.as_ref(), records, asking)?;
    let fitted = match (&subject.fit, &subject.form) {
        (Some(fit), Form::Closed(contract)) if early.is_none() => {
            Some(course.changed(|text, given| fitted(given, contract, fit, text)))
        }
        _ => None,
    };
    let (mut known, answers) = course.end(kind(evaluation_id))?;
    known.peak_memory_bytes = session.as_ref().and_then(|session| peak.of(session.engine().pid()));
    if let Some(fitted) = fitted {
        records.add(known.clone(), fitted);
    }
    if subject.fit.is_some() && is_scored {
        known.name += " (raw)";
    }
    let of = records.subjects.len();
    records.add(known, answers);
    if let Some(form) = turned.filter(|_| !interrupt::happened()) {
        let course = self::course(subject, &form, responder.as_ref(), records, asking)?;
        let (known, answers) = course.end(Kind::TurnedRound { of })?;
        records.add(known, answers);
    }
    Ok(())
}

/// Every row as a fit answers it from a part of the layers. That is asked anew each time: what it takes is what it is for.
fn early_course<'a>(
    subject: &'a Subject,
    responder: &Responder,
    records: &'a Records,
    asking: Asking<'a>,
) -> Result<Course<'a>, Failure> {
    let form = &subject.form;
    let digest = Digest::of(format!("{} early", subject.asking(form)).as_bytes());
    let way =
        Way { name: &subject.variant.name, nth: subject.nth, form, judging: Judging::Rows, asking: digest, by: None };
    let mut course = Course::of(way, records, asking);
    let n_parallel = asking.args.asking.parallel.unwrap_or(N_CLOSED);
    course.run(n_parallel, |text| begin(responder, subject.turn(form, text)), finish)?;
    Ok(course)
}

/// Every row in one form, as far as it was asked.
fn course<'a>(
    subject: &'a Subject,
    form: &'a Form,
    responder: Option<&Responder>,
    records: &'a Records,
    asking: Asking<'a>,
) -> Result<Course<'a>, Failure> {
    let by = responder.map(|responder| computed_by(subject, form, responder));
    let state = subject.fit.as_ref().and_then(|fit| fit.fit().needs_state().then(StateAt::default));
    let (name, judging, asked) = (&subject.variant.name, Judging::Rows, self::asking(subject, form, state));
    let way = Way { name, nth: subject.nth, form, judging, asking: asked, by };
    let mut course = Course::of(way, records, asking);
    if let Some(responder) = responder {
        let n_usual = match responder {
            Responder::Remote(remote) => remote.client().remote().concurrency.get(),
            Responder::Engine(_) | Responder::Cascade(_) | Responder::Words(_) if matches!(form, Form::Closed(_)) => {
                N_CLOSED
            }
            Responder::Engine(_) | Responder::Cascade(_) | Responder::Words(_) => N_BATCHED,
        };
        let n_parallel = asking.args.asking.parallel.unwrap_or(n_usual);
        course.run(n_parallel, |text| begin(responder, own(subject, form, text, state)), finish)?;
    }
    Ok(course)
}

/// The digest of what decides a subject's answers: those with a hidden state and without one are kept apart.
#[must_use]
pub fn asking(subject: &Subject, form: &Form, state: Option<StateAt>) -> Digest {
    let asking = subject.asking(form);
    state.map_or(asking, |state| Digest::of(format!("{asking} state {state:?}").as_bytes()))
}

/// What is asked about a text, for the model's own answer.
#[must_use]
pub fn own(subject: &Subject, form: &Form, text: &str, state: Option<StateAt>) -> Turn {
    // A cascade's tiers have fits of their own, which decide whose answer it is.
    let fit = if matches!(subject.model.weights, Weights::Elsewhere(_)) { FitUse::Own } else { FitUse::None };
    Turn { fit, state, ..subject.turn(form, text) }
}

/// Loads a subject's model, with its fit or without.
///
/// # Errors
/// The model cannot be found or loaded.
pub fn open(
    subject: &Subject,
    Asking { args, environment, .. }: Asking<'_>,
    fit: FitUse,
) -> Result<Responder, Failure> {
    let wanted = LoadOptions {
        adapters: &subject.adapters,
        parameters: &subject.parameters,
        compute: &args.compute,
        load: Load::Everything,
        place: args.place(),
        fit,
        keep_alive: None,
    };
    let model = subject.model.clone();
    let header = load::header(&model)?;
    let Loaded { responder, .. } = load::open(model, header.as_ref(), &wanted, environment)?;
    Ok(responder)
}

/// Loads a subject's model and holds its fit against the way it is asked; also gives the hidden state that the fit reads.
///
/// # Errors
/// The model cannot be loaded, or its fit was made for another way of asking.
pub fn open_with_fit(subject: &Subject, asking: Asking<'_>) -> Result<(Responder, Option<StateAt>), Failure> {
    let is_elsewhere = matches!(subject.model.weights, Weights::Elsewhere(_));
    let used = if subject.fit.is_some() || is_elsewhere { FitUse::Own } else { FitUse::None };
    let responder = open(subject, asking, used)?;
    if let Ok(session) = responder.session()
        && let Err(error @ InferError::StaleFit(_)) = session.ready(subject.turn(&subject.form, "text"))
    {
        return Err(error.into());
    }
    let state = subject.fit.as_ref().and_then(|fit| fit.fit().needs_state().then(StateAt::default));
    Ok((responder, state))
}

/// What identifies the answers of a model that is ready to answer.
#[must_use]
pub fn computed_by(subject: &Subject, form: &Form, responder: &Responder) -> String {
    // A question that cannot be asked is refused in each row's place.
    let prompt = responder.prompt_digest(own(subject, form, "text", None)).unwrap_or_else(|error| error.to_string());
    let identity = responder.identity(subject.scoring);
    let by = match responder.session().map(|session| session.engine().info()) {
        Ok(info) => format!("{identity} {prompt} {} {}", info.n_ctx, info.compute.kv_type),
        Err(_) => format!("{identity} {prompt}"),
    };
    Digest::of(by.as_bytes()).id()
}

/// A row that was asked: when, and its answer to come.
pub type Asked = (Instant, Result<Reply, InferError>);

/// Asks a row.
pub fn begin(responder: &Responder, turn: Turn) -> Asked {
    (Instant::now(), responder.ask(turn))
}

/// Waits for a row's answer. A failure of the row is its answer; one of the model ends the run.
///
/// # Errors
/// The model is lost.
pub fn finish((asked, reply): Asked, cancel: &Cancel) -> Result<Given, Failure> {
    let error = match reply.and_then(|reply| wait(whole(reply), cancel)) {
        Ok((finished, first)) => return Ok(given(finished, first.map(|first| first - asked))),
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
        InferError::Remote(unanswered) => match &unanswered.error {
            RemoteError::Broken(Violation::Length) | RemoteError::Unfinished => Why::Truncated,
            RemoteError::Broken(_) => Why::Format,
            RemoteError::Declined(_) => Why::Refused,
            _ => Why::NoAnswer,
        },
        _ => Why::NoAnswer,
    };
    let reason = Failure::from(error).message;
    Ok(Given { said: Said::Failed(Failed { why, reason }), cost: Cost::default(), state: None })
}

/// A whole reply, and when its first piece came where it came in pieces.
async fn whole(mut reply: Reply) -> Result<(Finished, Option<Instant>), InferError> {
    let (mut pieces, mut first) = (Pieces::default(), None);
    let has_first = reply.comes_in_pieces();
    while let Some(piece) = reply.next().await? {
        if has_first && !matches!(piece, Piece::End(_)) {
            first.get_or_insert_with(Instant::now);
        }
        if let Some(finished) = pieces.add(piece) {
            return Ok((finished, first));
        }
    }
    Err(EngineError::Stopped.into())
}

/// What came of a row, and how long after it was asked its first piece did.
fn given(finished: Finished, first: Option<Duration>) -> Given {
    let Finished { text, mut end, .. } = finished;
    let state = end.state.take();
    let ms = |time: Duration| time.saturating_sub(end.timings.queued).as_secs_f64() * 1e3;
    // A scored answer comes all at once.
    let first = first.filter(|_| !matches!(end.finding, Finding::Closed(_)));
    let cost = Cost {
        latency_ms: ms(end.elapsed),
        first_token_ms: first.map(ms),
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
