//! What is asked about the rows of labelled data: the model's scores with its hidden state, or its state after some of its layers.

use std::sync::Arc;

use super::field::{FieldRow, FieldRows};
use super::prepared::{Known, Prepared};
use crate::batch::N_CLOSED;
use crate::cli::environment::Environment;
use crate::cli::eval::course::{Course, Judging, Way};
use crate::cli::eval::local;
use crate::cli::interrupt;
use crate::engine::StateAt;
use crate::eval::answer::{Failed, Given, Said};
use crate::eval::record::Records;
use crate::failure::Failure;
use crate::infer::{FitUse, Responder, Session, Turn};

/// Data and the model that is asked about it.
pub struct Source {
    pub prepared: Prepared,
    pub session: Arc<Session>,
    responder: Responder,
    records: Records,
}

impl Source {
    /// Loads the model.
    ///
    /// # Errors
    /// It cannot be loaded.
    pub fn open(prepared: Prepared, environment: &Environment) -> Result<Source, Failure> {
        let responder = local::open(&prepared.subject, prepared.asking(environment), FitUse::None)?;
        let session = Arc::clone(responder.session()?);
        let records = prepared.records();
        Ok(Source { prepared, session, responder, records })
    }

    /// Rows of the data.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.records.rows.len()
    }

    /// What the model says of every row that has an answer, by closed field.
    ///
    /// # Errors
    /// Nobody answers any more, or the run was interrupted.
    pub fn fields(&self, state: Option<StateAt>, environment: &Environment) -> Result<Vec<FieldRows>, Failure> {
        let given = self.given(state, environment)?;
        Ok(self.prepared.fields(&self.records, |place| match given[place].as_ref()? {
            Given { said: Said::Closed(scores), state, .. } => Some(Known { scores, state: state.as_ref() }),
            _ => None,
        }))
    }

    /// The same rows, with the state after so many layers in the place of all that the model says.
    ///
    /// # Errors
    /// As [`Source::fields`], and a row has no such state.
    pub fn after_layers(
        &self,
        n_layers: u32,
        fields: &[FieldRows],
        environment: &Environment,
    ) -> Result<Vec<FieldRows>, Failure> {
        let given = self.given(Some(StateAt::Layers(n_layers)), environment)?;
        let row = |row: &FieldRow| {
            let why = match given[row.nth].as_ref() {
                Some(Given { state: Some(state), .. }) => return Ok(row.with_state_alone(state)),
                Some(Given { said: Said::Failed(Failed { reason, .. }), .. }) => reason.as_str(),
                _ => "it was not told",
            };
            Err(Failure::failed(format!("there is no state after {n_layers} layers of {}: {why}", row.at)))
        };
        let field = |field: &FieldRows| {
            let rows = field.rows.iter().map(row).collect::<Result<_, Failure>>()?;
            let FieldRows { name, options, is_labelled, .. } = field;
            Ok(FieldRows { name: name.clone(), options: options.clone(), is_labelled: *is_labelled, rows })
        };
        fields.iter().map(field).collect()
    }

    /// What was given to every row, asked or kept from an earlier time.
    fn given(&self, state: Option<StateAt>, environment: &Environment) -> Result<Vec<Option<Given>>, Failure> {
        let Source { prepared, responder, .. } = self;
        let subject = &prepared.subject;
        let layers = match state {
            Some(StateAt::Layers(n)) => Some(format!("{} ({n} layers)", subject.name)),
            _ => None,
        };
        let way = Way {
            name: layers.as_deref().unwrap_or(&subject.name),
            nth: 0,
            form: &subject.form,
            judging: if layers.is_some() { Judging::None } else { Judging::Rows },
            asking: local::asking(subject, &subject.form, state),
            by: Some(local::computed_by(subject, &subject.form, responder)),
        };
        let mut course = Course::of(way, &self.records, prepared.asking(environment));
        let turn = |text: &str| Turn { fit: FitUse::None, state, ..subject.turn(&subject.form, text) };
        let n_parallel = prepared.eval.asking.parallel.unwrap_or(N_CLOSED);
        course.run(n_parallel, |text| local::begin(responder, turn(text)), local::finish)?;
        interrupt::finished()?;
        Ok(course.given())
    }
}
