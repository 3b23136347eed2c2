//! `slm create -q`: the weights that a Modelfile's FROM names, made anew in another type before the model gets its name, and what
//! that did to its answers.

use std::path::{Path, PathBuf};

use super::CreateArgs;
use crate::cli::environment::Environment;
use crate::cli::eval::args::{AskingArgs, EvalArgs};
use crate::cli::eval::drift::{self, Drifting};
use crate::cli::eval::importance::Importance;
use crate::cli::quantize::source::Source;
use crate::cli::quantize::{Order, report};
use crate::eval::data::Selection;
use crate::failure::Failure;
use crate::manifest::media_type;
use crate::model_ref::ModelRef;
use crate::modelfile::{BaseSource, Modelfile};
use crate::store::{FoundWeights, ImportedWeights, Made, Model, Store, Weights};
use crate::ui::output::{Output, say};
use crate::ui::progress::Bytes;

/// The suite that is looked for beside a Modelfile.
const SUITE: &str = "suite.yaml";
/// The word of `--check` that turns it off.
const NO_CHECK: &str = "none";

/// A new model whose weights are to be quantized.
pub struct Making<'a> {
    pub name: &'a ModelRef,
    pub modelfile: &'a Modelfile,
    /// The folder that the Modelfile's paths are relative to.
    pub folder: &'a Path,
    pub args: &'a CreateArgs,
    pub store: &'a Store,
    pub environment: &'a Environment,
}

/// Weights that were made, and the model as it would be without that, where it is to be compared.
pub struct Ready {
    pub made: Made,
    check: Option<Check>,
}

/// What the new model is compared with, and on what.
struct Check {
    original: Model,
    path: PathBuf,
    /// Its files, for as long as it is asked.
    source: Source,
}

/// Refuses to quantize what has no weights.
///
/// # Errors
/// Somebody asked for it.
pub fn refuse(order: Option<&Order>, kind: &str) -> Result<(), Failure> {
    match order {
        None => Ok(()),
        Some(_) => Err(Failure::usage(format!("a {kind} has no weights that could be quantized; remove --quantize"))),
    }
}

impl Making<'_> {
    /// The new weights, in a file that is nobody's yet; `None` where only the plan was asked for, which is then told.
    ///
    /// # Errors
    /// The Modelfile or the weights cannot be used, or the quantizer fails; then nothing is left.
    pub fn weights(&self, mut order: Order) -> Result<Option<Ready>, Failure> {
        let Making { modelfile, folder, args, store, environment, .. } = *self;
        // Before the work, so that a mistake costs nothing.
        store.check_modelfile(modelfile, folder)?;
        let source = match &modelfile.from {
            BaseSource::Path(path) => Source::of_files(path, &FoundWeights::at(path, folder)?)?,
            BaseSource::Name(from) => Source::of_model(&store.resolve(&from.name)?)?,
        };
        let importance = match &args.quantizing.imatrix {
            None => None,
            Some(path) => Some(Importance::of(path, || self.original(&source), environment)?),
        };
        if let (Some(importance), Some(path)) = (&importance, &args.quantizing.imatrix_out) {
            importance.copy_to(path)?;
        }
        order.imatrix = importance.as_ref().map(Importance::file);
        let plan = order.plan(&source)?;
        if args.quantizing.dry_run {
            let mut output = Output::default();
            if args.json {
                output.json(&plan.as_json(&order, &source))?;
            } else {
                output.text(&plan.page(&order, &source))?;
            }
            return Ok(None);
        }
        let check = self.suite().map(|path| self.original(&source).map(|original| (path, original))).transpose()?;
        order.announce(&source, &plan);
        let made = order.make(&source, &plan, store)?;
        Ok(Some(Ready { made, check: check.map(|(path, original)| Check { original, path, source }) }))
    }

    /// What the new model is checked with.
    fn suite(&self) -> Option<PathBuf> {
        match &self.args.quantizing.check {
            Some(path) if path == Path::new(NO_CHECK) => None,
            Some(path) => Some(path.clone()),
            None if self.args.file == Path::new("-") => None,
            None => Some(self.folder.join(SUITE)).filter(|path| path.is_file()),
        }
    }

    /// The model as it would be with the weights as they are.
    fn original(&self, source: &Source) -> Result<Model, Failure> {
        let Making { name, modelfile, folder, store, .. } = *self;
        let (weights, paths) = match &modelfile.from {
            BaseSource::Path(path) => {
                let found = FoundWeights::at(path, folder)?;
                (found.identify(&Bytes::default())?, found.paths)
            }
            BaseSource::Name(from) => {
                let base = store.resolve(&from.name)?;
                let layers = base.manifest.layers_of(media_type::MODEL).cloned().collect();
                let paths = match base.weights {
                    Weights::Blobs(paths) => paths,
                    _ => vec![source.first().to_owned()],
                };
                (ImportedWeights { layers, header: source.header.clone() }, paths)
            }
        };
        Ok(store.unnamed(name, (modelfile, folder), (&weights, paths))?)
    }
}

impl Ready {
    /// Asks the original and the new model, where that is wanted, and says what changed.
    ///
    /// # Errors
    /// The suite or a model cannot be used.
    pub fn check(&self, args: &CreateArgs, model: Model, environment: &Environment) -> Result<(), Failure> {
        let Some(Check { original, path, source }) = &self.check else { return Ok(()) };
        let mut eval = EvalArgs { suite: Some(path.clone()), ..EvalArgs::default() };
        // Speeds are of this run.
        eval.asking = AskingArgs { fresh: true, ..AskingArgs::default() };
        let suite = drift::suite(path, &args.name, original)?;
        say(format_args!("asking `{}` and its original about `{}`", model.name, path.display()));
        let selection = Selection { filter: suite.filter.clone(), shard: None, limit: suite.limit };
        let mut drifting = Drifting::begin((suite, &selection), original, &eval, environment)?;
        drifting.ask(source.header.quantization(), original.clone(), &source.header)?;
        let header = self.made.weights.header.clone();
        drifting.ask(header.quantization(), model, &header)?;
        let report = drifting.report()?;
        let mut output = Output::default();
        if args.json {
            output.json(&serde_json::to_value(&report).expect("a report is plain data"))?;
        } else {
            output.text(&format!("\n{}", report::page(&report)))?;
        }
        Ok(())
    }
}
