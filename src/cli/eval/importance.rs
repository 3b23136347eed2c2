//! The importance matrix that weights are quantized with: a file that somebody made, or one that is computed from the rows of a
//! task, with each prompt as slm renders it.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::args::EvalArgs;
use super::parquet;
use super::subject;
use crate::cli::environment::Environment;
use crate::cli::load::{self, EnginePlace, LoadOptions, Loaded};
use crate::cli::{compute, interrupt};
use crate::encoding;
use crate::engine::imatrix::ImatrixTexts;
use crate::engine::quantize::ImatrixFile;
use crate::engine::{EngineError, Load, imatrix};
use crate::eval::data::{Data, Selection};
use crate::eval::init;
use crate::eval::suite::Suite;
use crate::failure::{Exit, Failure};
use crate::imatrix::Imatrix;
use crate::infer::{FitUse, Turn};
use crate::load_spec::{self, LoadRequest};
use crate::prompt::Prompt;
use crate::sampling::Parameters;
use crate::store::Model;
use crate::ui::output::{say, say_skipped};
use crate::ui::progress::Rows;
use crate::ui::table::counted;

/// The most bytes of a matrix's file: those of models with hundreds of experts have some gigabytes.
const MAX_FILE_BYTES: u64 = 8 << 30;
/// Tokens of a chunk of plain text, as llama-imatrix has them.
const CHUNK: u32 = 512;

/// A matrix as a file that the quantizer's process can read.
#[derive(Debug)]
pub struct Importance {
    file: ImatrixFile,
    /// The file, where it was computed here.
    made: Option<tempfile::NamedTempFile>,
}

impl Importance {
    /// The matrix that `path` means: one that is there, or one of the texts in it, read by the model that `original` gives.
    ///
    /// # Errors
    /// The file cannot be read, or is neither; or the model cannot read the texts.
    pub fn of(
        path: &Path,
        original: impl FnOnce() -> Result<Model, Failure>,
        environment: &Environment,
    ) -> Result<Importance, Failure> {
        let named = path.display().to_string();
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
        if ["dat", "gguf", "imatrix"].contains(&extension.as_str()) {
            check(path)?;
            return Ok(Importance { file: ImatrixFile { path: path.to_owned(), named }, made: None });
        }
        let mut matrix = computed(path, &extension, &original()?, environment)?;
        matrix.datasets = vec![named.clone()];
        let failed = |error: std::io::Error| Failure::failed(format!("cannot keep the importance matrix: {error}"));
        let made = tempfile::Builder::new().prefix("slm-imatrix-").suffix(".gguf").tempfile().map_err(failed)?;
        std::fs::write(made.path(), matrix.to_gguf()).map_err(failed)?;
        Ok(Importance { file: ImatrixFile { path: made.path().to_owned(), named }, made: Some(made) })
    }

    #[must_use]
    pub fn file(&self) -> ImatrixFile {
        self.file.clone()
    }

    /// Copies the matrix to where somebody wants it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn copy_to(&self, path: &Path) -> Result<(), Failure> {
        let from = self.made.as_ref().map_or(self.file.path.as_path(), |made| made.path());
        let copied = std::fs::copy(from, path);
        copied.map_err(|error| Failure::failed(format!("cannot write `{}`: {error}", path.display())))?;
        say(format_args!("`{}` has the importance matrix", path.display()));
        Ok(())
    }
}

/// Whether a file is an importance matrix, before anything is made with it.
fn check(path: &Path) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::failed(format!("`{}`: {error}", path.display()));
    let n_bytes = std::fs::metadata(path).map_err(|error| failed(&error))?.len();
    if n_bytes > MAX_FILE_BYTES {
        return Err(failed(&format!("it has {n_bytes} bytes, more than an importance matrix has")));
    }
    let bytes = std::fs::read(path).map_err(|error| failed(&error))?;
    Imatrix::parse(&bytes).map(drop).map_err(|error| failed(&format!("it {error}")))
}

fn computed(path: &Path, extension: &str, model: &Model, environment: &Environment) -> Result<Imatrix, Failure> {
    let texts = if extension == "txt" {
        let bytes = load::small_bytes(std::fs::File::open(path).map_err(|error| unreadable(path, &error))?);
        let bytes = bytes.map_err(|error| unreadable(path, &error))?;
        let text = encoding::decode(&bytes).map_err(|error| unreadable(path, &error))?;
        ImatrixTexts::Chunks { text, n_tokens: CHUNK }
    } else {
        ImatrixTexts::Prompts(prompts(path, model, environment)?)
    };
    let header = model.weights.header()?;
    let compute = compute::resolve(&Default::default(), &Default::default(), &model.parameters, environment)?;
    let adapters = load_spec::own_adapters(model);
    let request = LoadRequest { load: Load::Everything, n_ctx: None, compute, adapters, fit: FitUse::None };
    let options = load_spec::open(model, &header, request)?.options;
    let _listening = interrupt::listen(|| {});
    let bar = Rows::new(None);
    let matrix = imatrix(&options, &texts, |done, all| {
        bar.at(done as u64, done as u64, || format!("  of {all} for the importance matrix"));
        if interrupt::happened() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    drop(bar);
    let matrix = matrix.map_err(|error| match error {
        EngineError::Cancelled => {
            Failure { message: "interrupted; nothing was changed".to_owned(), exit: Exit::Interrupted }
        }
        error => error.into(),
    })?;
    if matrix.entries.is_empty() {
        return Err(Failure::failed(format!(
            "`{}` is too short for an importance matrix: plain text is read in chunks of {CHUNK} tokens, and it has less than one",
            path.display()
        )));
    }
    say(format_args!(
        "importance matrix of {} from `{}`",
        counted(matrix.entries.len() as u64, "tensor"),
        path.display()
    ));
    Ok(matrix)
}

/// The prompts of a task's rows, as the model would be sent them.
fn prompts(path: &Path, model: &Model, environment: &Environment) -> Result<Vec<Prompt>, Failure> {
    let name = model.name.to_string();
    let (suite, folder) = suite(path, &name)?;
    let selection = Selection { filter: suite.filter.clone(), shard: None, limit: suite.limit };
    let data = Data::load(&folder, &suite, &selection, &parquet::read_apart)?;
    say_skipped(data.n_blank_lines);
    let args = EvalArgs { suite: Some(path.to_owned()), ..EvalArgs::default() };
    let variant = &suite.variants[0];
    let form = match subject::pinned(variant, &args, &folder)? {
        Some(form) => form,
        None => load_spec::own_form(model)?,
    };
    let parameters = Parameters::from_json(&variant.parameters.clone().into())
        .map_err(|error| Failure::usage(format!("`{}`: {error}", path.display())))?;
    let wanted = LoadOptions {
        adapters: &load_spec::own_adapters(model),
        parameters: &parameters,
        compute: &args.compute,
        load: Load::Vocabulary,
        place: EnginePlace::ThisProcess,
        fit: FitUse::None,
        keep_alive: None,
    };
    let header = model.weights.header()?;
    let Loaded { responder, .. } = load::open(model.clone(), Some(&header), &wanted, environment)?;
    let session = responder.session()?;
    let content = data.rows.iter().filter_map(|row| row.content.as_ref().ok());
    let turn = |text: &str| Turn {
        form: form.clone(),
        parameters: parameters.clone(),
        scoring: args.reading.scoring(),
        ..Turn::to_text(variant.system.as_deref(), text)
    };
    content.map(|content| Ok(session.ready(turn(content.text()))?.prompt().clone())).collect()
}

/// A suite, or one that has the texts of rows, whatever else stands in them.
fn suite(path: &Path, name: &str) -> Result<(Suite, PathBuf), Failure> {
    if slm_yaml::is_yaml(path) {
        let mut suite = Suite::load(path)?;
        suite.ask_instead(&[name.to_owned()]);
        return Ok((suite, path.parent().unwrap_or(Path::new(".")).to_owned()));
    }
    let (Some(text), _) = init::text_and_labels(path, &parquet::read_apart)? else {
        return Err(Failure::failed(format!(
            "`{}` has no column that looks like a text; name it `text`, or give a suite",
            path.display()
        )));
    };
    // What is expected plays no part here, but a suite expects something.
    let data = path.display().to_string();
    let suite = json!({"model": name, "data": data, "input": text, "expect": text});
    Ok((Suite::parse(&suite.to_string())?, PathBuf::from(".")))
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::failed(format!("cannot read `{}`: {error}", path.display()))
}
