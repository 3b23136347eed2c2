//! A model and what became of it in other types, asked about the same rows one after the other.

use std::path::{Path, PathBuf};

use super::args::{AskingArgs, EvalArgs};
use super::course::Asking;
use super::subject::{self, Subject};
use super::{local, parquet};
use crate::cli::environment::Environment;
use crate::cli::interrupt;
use crate::cli::reading::ReadingArgs;
use crate::contract::Form;
use crate::eval::data::hygiene::Impossible;
use crate::eval::data::{Data, Selection};
use crate::eval::drift::{DriftReport, WeightSize};
use crate::eval::init;
use crate::eval::record::Records;
use crate::eval::suite::Suite;
use crate::failure::{Exit, Failure};
use crate::gguf::Header;
use crate::load_spec;
use crate::store::Model;
use crate::ui::output::{say, say_skipped};

/// The rows, and the answers so far.
pub struct Drifting<'a> {
    suite: Suite,
    folder: PathBuf,
    data: Data,
    args: EvalArgs,
    environment: &'a Environment,
    records: Records,
    sizes: Vec<WeightSize>,
}

/// A suite's file, or labelled rows, as a suite of this model, by that name.
///
/// # Errors
/// It cannot be read, or has no rows with labels.
pub fn suite(path: &Path, name: &str, model: &Model) -> Result<Suite, Failure> {
    let mut suite = if slm_yaml::is_yaml(path) {
        Suite::load(path)?
    } else {
        let shown = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        let mut suite = Suite::parse(&init::suite(path, &shown, &parquet::read_apart)?)?;
        if !matches!(load_spec::own_form(model)?, Form::Free) {
            // Its own contract, and not what could be guessed from the rows.
            suite.defaults.format = None;
        }
        suite
    };
    suite.ask_instead(&[name.to_owned()]);
    Ok(suite)
}

impl<'a> Drifting<'a> {
    /// Reads the data of a suite that has one model, which `original` is; nobody is asked yet. Answers are those of the models
    /// themselves, without fits, with every probability computed.
    ///
    /// # Errors
    /// The data or a setting of the suite cannot be used.
    pub fn begin(
        (suite, selection): (Suite, &Selection),
        original: &Model,
        args: &EvalArgs,
        environment: &'a Environment,
    ) -> Result<Drifting<'a>, Failure> {
        let path = args.suite.clone().unwrap_or_default();
        let folder = path.parent().unwrap_or(Path::new(".")).to_owned();
        let mut args = args.clone();
        args.asking = AskingArgs { local: true, no_fit: true, rescore: false, permute: false, ..args.asking };
        args.reading = ReadingArgs { exact: true, ..args.reading };
        let data = Data::load(&folder, &suite, selection, &parquet::read_apart)?;
        say_skipped(data.n_blank_lines);
        let subject = Subject::of((0, "original"), original.clone(), (&suite, &folder), &args, environment)?;
        let fields = subject::fields(&suite, &[&subject.form]);
        let candidates: Vec<_> = fields.iter().map(|field| field.candidates.clone()).collect();
        data.findings(&suite, &candidates, Impossible::CountsAsWrong).iter().for_each(say);
        let records = Records::new(path.display().to_string(), &data, fields);
        Ok(Drifting { suite, folder, data, args, environment, records, sizes: Vec::new() })
    }

    /// Asks a model about every row; the first is the original.
    ///
    /// # Errors
    /// It cannot be loaded, is lost, or a person interrupts.
    pub fn ask(&mut self, name: &str, model: Model, header: &Header) -> Result<(), Failure> {
        let Drifting { suite, folder, data, args, environment, records, sizes } = self;
        name.clone_into(&mut suite.variants[0].name);
        let subject = Subject::of((0, name), model, (suite, folder), args, environment)?;
        local::ask(&subject, records, Asking { suite, data, args, environment })?;
        sizes.push(WeightSize {
            n_bytes: header.n_tensor_bytes(),
            bits_per_weight: header.bits_per_weight().unwrap_or_default(),
        });
        if interrupt::happened() {
            return Err(Failure { message: interrupt::KEPT.to_owned(), exit: Exit::Interrupted });
        }
        Ok(())
    }

    /// What came of it.
    ///
    /// # Errors
    /// No row was answered by all.
    pub fn report(mut self) -> Result<DriftReport, Failure> {
        self.records.keep_common();
        if self.records.rows.is_empty() {
            return Err(Failure::failed("no row was answered, so there is nothing to compare"));
        }
        Ok(DriftReport::of(&self.records, &self.sizes))
    }
}
