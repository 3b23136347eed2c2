//! The weights of a model with what adapters add to them: `W + scale * alpha / rank * B A`, tensor by tensor. The file is the
//! base's in everything else.

use std::fs::File;
use std::io::BufReader;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use half::{bf16, f16};

use crate::cli::quantize::source::Source;
use crate::engine::Adapter;
use crate::failure::Failure;
use crate::gguf::{AdapterHeader, TensorInfo, TensorType};
use crate::progress::Progress;

/// A base and the adapters that are merged into it, known to fit.
pub struct Merging<'a> {
    source: &'a Source,
    adapters: Vec<Opened>,
    /// The base's tensors that change, in its order.
    changed: Vec<TensorInfo>,
}

/// An adapter's file with its header.
struct Opened {
    name: String,
    file: File,
    header: AdapterHeader,
    scale: f32,
}

/// What an adapter adds to one tensor.
#[derive(Debug)]
struct Factors {
    /// `rank` rows of the tensor's row length; of an embedding, a row of `rank` for each token.
    a: Vec<f32>,
    /// A row of `rank` for each row of the tensor; of an embedding, for each of its columns.
    b: Vec<f32>,
    rank: usize,
    scale: f32,
    is_embedding: bool,
}

impl<'a> Merging<'a> {
    /// Opens the adapters and checks that they can be merged.
    ///
    /// # Errors
    /// An adapter does not fit, or the base is quantized or in several files.
    pub fn of(source: &'a Source, adapters: &[Adapter]) -> Result<Merging<'a>, Failure> {
        if !source.is_one_file() {
            return Err(Failure::failed(format!(
                "`{}` is in several files; join them with llama.cpp's `llama-gguf-split --merge` first",
                source.name
            )));
        }
        let adapters = adapters.iter().map(|adapter| Opened::of(adapter, source)).collect::<Result<Vec<_>, _>>()?;
        let is_changed = |tensor: &&TensorInfo| {
            adapters.iter().any(|one| one.header.pairs.iter().any(|pair| pair.name == tensor.name))
        };
        let changed: Vec<TensorInfo> = source.header.tensors.iter().filter(is_changed).cloned().collect();
        if let Some(tensor) = changed.iter().find(|tensor| tensor.kind.is_quantized()) {
            return Err(Failure::failed(format!(
                "the weights of `{}` are quantized (`{}` is {}), and what an adapter adds would be lost in rounding; merge into the \
                 F16 or F32 model, then quantize with `slm create -q`",
                source.name, tensor.name, tensor.kind.name
            )));
        }
        Ok(Merging { source, adapters, changed })
    }

    /// The size of the merged file.
    #[must_use]
    pub fn n_bytes(&self) -> u64 {
        std::fs::metadata(self.source.first()).map_or(0, |file| file.len())
    }

    #[must_use]
    pub fn n_tensors(&self) -> usize {
        self.changed.len()
    }

    /// Writes the merged weights to a file.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn write(&self, path: &Path, progress: &dyn Progress) -> Result<(), Failure> {
        let failed = |error: std::io::Error| Failure::failed(format!("cannot write the merged weights: {error}"));
        std::fs::copy(self.source.first(), path).map_err(failed)?;
        let file = File::options().read(true).write(true).open(path).map_err(failed)?;
        progress.start("merging", self.changed.iter().map(|tensor| tensor.n_bytes).sum());
        for tensor in &self.changed {
            let at = self.source.header.data_offset + tensor.offset;
            let mut bytes = vec![0; usize::try_from(tensor.n_bytes).unwrap_or(usize::MAX)];
            file.read_exact_at(&mut bytes, at).map_err(failed)?;
            let mut values = floats(tensor.kind, &bytes).expect("checked to be no quantized type");
            for adapter in &self.adapters {
                if let Some(factors) = adapter.factors(&tensor.name)? {
                    let width = usize::try_from(tensor.dimensions[0]).unwrap_or(usize::MAX);
                    values.chunks_exact_mut(width).enumerate().for_each(|(nth, row)| factors.add(nth, row));
                }
            }
            file.write_all_at(&rounded(tensor.kind, &values), at).map_err(failed)?;
            progress.advance(tensor.n_bytes);
        }
        progress.finish();
        file.sync_all().map_err(failed)
    }
}

impl Opened {
    fn of(adapter: &Adapter, source: &Source) -> Result<Opened, Failure> {
        let name = adapter.path.display().to_string();
        let failed = |error: &dyn std::fmt::Display| Failure::failed(format!("the adapter `{name}`: {error}"));
        let file = File::open(&adapter.path).map_err(|error| failed(&error))?;
        let n_bytes = file.metadata().map_err(|error| failed(&error))?.len();
        let header = AdapterHeader::read(BufReader::new(&file), n_bytes).map_err(|error| failed(&error))?;
        header.check_base(&source.header).map_err(|error| failed(&error))?;
        Ok(Opened { file, header, scale: adapter.scale, name: name.clone() })
    }

    /// What it adds to a tensor; `None` where that is nothing.
    fn factors(&self, tensor: &str) -> Result<Option<Factors>, Failure> {
        let Some(pair) = self.header.pairs.iter().find(|pair| pair.name == tensor) else { return Ok(None) };
        Ok(Some(Factors {
            a: self.values(&pair.a)?,
            b: self.values(&pair.b)?,
            rank: usize::try_from(pair.rank()).unwrap_or(usize::MAX),
            scale: self.scale * pair.scale(self.header.alpha),
            is_embedding: pair.is_embedding(),
        }))
    }

    fn values(&self, tensor: &TensorInfo) -> Result<Vec<f32>, Failure> {
        let failed = |error: &dyn std::fmt::Display| Failure::failed(format!("the adapter `{}`: {error}", self.name));
        let mut bytes = vec![0; usize::try_from(tensor.n_bytes).unwrap_or(usize::MAX)];
        let at = self.header.header.data_offset + tensor.offset;
        self.file.read_exact_at(&mut bytes, at).map_err(|error| failed(&error))?;
        floats(tensor.kind, &bytes).ok_or_else(|| {
            failed(&format!(
                "its tensor `{}` is {}; only F32, F16 and BF16 can be merged",
                tensor.name, tensor.kind.name
            ))
        })
    }
}

impl Factors {
    /// Adds to the row with this number.
    fn add(&self, nth: usize, row: &mut [f32]) {
        let own = if self.is_embedding { &self.a } else { &self.b };
        let own = &own[nth * self.rank..(nth + 1) * self.rank];
        if self.is_embedding {
            for (x, b) in row.iter_mut().zip(self.b.chunks_exact(self.rank)) {
                *x += self.scale * own.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            }
            return;
        }
        let mut added = vec![0.0_f32; row.len()];
        for (&b, a) in own.iter().zip(self.a.chunks_exact(row.len())) {
            added.iter_mut().zip(a).for_each(|(sum, a)| *sum += b * a);
        }
        row.iter_mut().zip(added).for_each(|(x, added)| *x += self.scale * added);
    }
}

/// Numbers in single precision; `None` of a quantized type.
fn floats(kind: TensorType, bytes: &[u8]) -> Option<Vec<f32>> {
    let pairs = || bytes.as_chunks::<2>().0.iter().copied();
    match kind {
        TensorType::F32 => Some(bytes.as_chunks::<4>().0.iter().map(|&x| f32::from_le_bytes(x)).collect()),
        TensorType::F16 => Some(pairs().map(|x| f16::from_le_bytes(x).to_f32()).collect()),
        TensorType::BF16 => Some(pairs().map(|x| bf16::from_le_bytes(x).to_f32()).collect()),
        _ => None,
    }
}

/// Numbers in a type of [`floats`], to the nearest.
fn rounded(kind: TensorType, values: &[f32]) -> Vec<u8> {
    match kind {
        TensorType::F16 => values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect(),
        TensorType::BF16 => values.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes()).collect(),
        _ => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// numpy: `W + 0.5 * B @ A` with B of 2 x 2 and A of 2 x 3.
    #[test]
    fn rows_get_the_product_of_the_factors() {
        let factors = Factors {
            a: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
            b: vec![1.0, 0.0, 2.0, -1.0],
            rank: 2,
            scale: 0.5,
            is_embedding: false,
        };
        let mut rows = [[10.0, 10.0, 10.0], [20.0, 20.0, 20.0]];
        rows.iter_mut().enumerate().for_each(|(nth, row)| factors.add(nth, row));
        assert_eq!(rows, [[10.5, 11.0, 11.5], [19.0, 19.5, 20.0]]);
    }

    /// An embedding's A has a row for each token, and B one for each column.
    #[test]
    fn an_embedding_is_looked_up_by_token() {
        let factors = Factors {
            a: vec![1.0, 0.0, 2.0, 1.0],
            b: vec![1.0, 2.0, 3.0, 4.0],
            rank: 2,
            scale: 2.0,
            is_embedding: true,
        };
        let mut row = [0.0, 0.0];
        factors.add(1, &mut row);
        assert_eq!(row, [8.0, 20.0]);
    }

    #[test]
    fn numbers_are_read_and_rounded_in_their_type() {
        for kind in [TensorType::F32, TensorType::F16, TensorType::BF16] {
            let values = [0.5, -2.0, 1.0];
            assert_eq!(floats(kind, &rounded(kind, &values)).unwrap(), values, "{}", kind.name);
        }
        assert_eq!(floats(TensorType::Q8_0, &[0; 34]), None);
    }
}
