//! The weights that are quantized, as files that llama.cpp can open: a stored model's, a file's, or those in the binary.

use std::path::{Path, PathBuf};

use crate::failure::{Exit, Failure};
use crate::gguf::Header;
use crate::store::{FoundWeights, Model, Weights};

/// Weights with their files.
#[derive(Debug)]
pub struct Source {
    /// As people call them.
    pub name: String,
    pub header: Header,
    first: PathBuf,
    n_files: usize,
    /// Links or copies under names that llama.cpp understands.
    _folder: Option<tempfile::TempDir>,
}

impl Source {
    /// A stored model's weights.
    ///
    /// # Errors
    /// They cannot be read, or it has none.
    pub fn of_model(model: &Model) -> Result<Source, Failure> {
        let (name, header) = (model.name.to_string(), model.weights.header()?);
        match &model.weights {
            Weights::Blobs(paths) => Source::of_paths(name, header, paths),
            Weights::Embedded(bytes) => {
                let (folder, first) = in_folder(|folder| {
                    let path = folder.join("model.gguf");
                    std::fs::write(&path, bytes).map(|()| path)
                })?;
                Ok(Source { name, header, first, n_files: 1, _folder: Some(folder) })
            }
            Weights::Elsewhere(who) => {
                Err(Failure::usage(format!("`{name}` is a {}, and has no weights that could be quantized", who.kind())))
            }
        }
    }

    /// Weights that somebody named by a file.
    ///
    /// # Errors
    /// The links to the shards of a split model cannot be made.
    pub fn of_files(name: &str, found: &FoundWeights) -> Result<Source, Failure> {
        Source::of_paths(name.to_owned(), found.header.clone(), &found.paths)
    }

    fn of_paths(name: String, header: Header, paths: &[PathBuf]) -> Result<Source, Failure> {
        if let [path] = paths {
            return Ok(Source { name, header, first: path.clone(), n_files: 1, _folder: None });
        }
        // llama.cpp finds the other shards by the pattern of the first one's name, which blobs do not have.
        let (folder, first) = in_folder(|folder| {
            let link = |nth: usize| folder.join(format!("model-{:05}-of-{:05}.gguf", nth + 1, paths.len()));
            for (nth, path) in paths.iter().enumerate() {
                std::os::unix::fs::symlink(std::path::absolute(path)?, link(nth))?;
            }
            Ok(link(0))
        })?;
        Ok(Source { name, header, first, n_files: paths.len(), _folder: Some(folder) })
    }

    /// Whether all weights are in the file that [`Source::first`] names.
    #[must_use]
    pub fn is_one_file(&self) -> bool {
        self.n_files == 1
    }

    /// The file, or the first shard.
    #[must_use]
    pub fn first(&self) -> &Path {
        &self.first
    }

    /// A failure to quantize them.
    #[must_use]
    pub fn failure(&self, failure: Failure) -> Failure {
        if failure.exit == Exit::Interrupted {
            return failure;
        }
        Failure { message: format!("`{}` cannot be quantized: {}", self.name, failure.message), ..failure }
    }
}

fn in_folder(fill: impl FnOnce(&Path) -> std::io::Result<PathBuf>) -> Result<(tempfile::TempDir, PathBuf), Failure> {
    let made = tempfile::Builder::new().prefix("slm-quantize-").tempdir();
    let filled = made.and_then(|folder| fill(folder.path()).map(|path| (folder, path)));
    filled.map_err(|error| Failure::failed(format!("cannot lay out the weights for the quantizer: {error}")))
}
