//! A fit as the two layers of a model that hold it: a JSON card, and numbers as safetensors. What is read came from anywhere: sizes,
//! shapes and values are checked before anything is computed with them.

mod numbers;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use slm_stats::words::{HashedTerms, HashedTermsError};

use crate::card::{CARD_FORMAT, CARD_FORMAT_OF_DEPTH, Card};
use crate::decision::Gate;
use crate::expert::{Block, Expert, TERMS};
use crate::fit::{Early, FieldFit, Fit};
use crate::method::{Method, MethodName, Pool};
use numbers::{Reader, Writer};

/// The most bytes that either layer may have.
pub const MAX_CARD_BYTES: usize = 16 << 20;
pub const MAX_NUMBERS_BYTES: usize = 256 << 20;
/// As a contract has them.
const MAX_FIELDS: usize = 400;
const MAX_OPTIONS: usize = 1024;
const MAX_EXPERTS: usize = 8;
const MAX_BLOCKS: usize = 4;

/// A fit as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FitLayers {
    /// JSON.
    pub card: Vec<u8>,
    /// safetensors.
    pub numbers: Vec<u8>,
}

/// Why bytes are not a fit.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FitLayerError {
    #[error("the fit's {what} has {n_bytes} bytes, more than {most}")]
    TooLarge { what: &'static str, n_bytes: usize, most: usize },
    #[error("the fit's card is not one: {0}")]
    Card(String),
    #[error(
        "the fit's card has format {found}, and this version reads {CARD_FORMAT} and {CARD_FORMAT_OF_DEPTH}; update slm, or fit again"
    )]
    Format { found: u32 },
    #[error("the fit's numbers are not safetensors: {0}")]
    Numbers(String),
    #[error("the fit lacks the numbers `{0}`")]
    Missing(String),
    #[error("the fit's numbers `{name}` are {found}, not {wanted}")]
    Shape { name: String, found: String, wanted: String },
    #[error("the fit's numbers `{name}` hold {value}, which no fit has")]
    OutOfRange { name: String, value: f64 },
    #[error("the fit's words cannot be used: {0}")]
    Words(#[from] HashedTermsError),
    #[error("the fit has {found} {what}, and there are {least} to {most}")]
    Count { what: &'static str, found: usize, least: usize, most: usize },
}

/// What stands in the card beside what a person reads.
#[derive(Serialize, Deserialize)]
struct WireFit {
    #[serde(flatten)]
    card: Card,
    computed: Vec<WireField>,
    /// From a part of the layers; their numbers follow those of the fields.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    computed_early: Vec<WireField>,
}

#[derive(Serialize, Deserialize)]
struct WireField {
    name: Option<String>,
    options: Vec<Value>,
    method: WireMethod,
    #[serde(default)]
    person: Vec<usize>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum WireMethod {
    Nothing,
    Centring,
    Pool { name: MethodName, seen: Vec<bool>, experts: Vec<Vec<WireBlock>> },
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum WireBlock {
    Logprobs,
    Words { bits: u32 },
    State,
}

impl Fit {
    /// The fit as bytes; the same fit gives the same.
    #[must_use]
    pub fn to_layers(&self) -> FitLayers {
        let mut writer = Writer::default();
        let field = |(nth, field): (usize, &FieldFit)| {
            if !field.gate.thresholds.is_empty() {
                writer.f64s(format!("{nth}.thresholds"), &field.gate.thresholds);
            }
            WireField {
                name: field.name.clone(),
                options: field.options.clone(),
                method: written(&field.method, nth, &mut writer),
                person: field.gate.person.clone(),
            }
        };
        let early = self.early.iter().flat_map(|early| &early.fields);
        let mut computed: Vec<WireField> = self.fields.iter().chain(early).enumerate().map(field).collect();
        let computed_early = computed.split_off(self.fields.len());
        let wire = WireFit { card: self.card.clone(), computed, computed_early };
        let card = serde_json::to_vec_pretty(&wire).expect("a card has no keys that JSON lacks");
        FitLayers { card, numbers: writer.bytes() }
    }

    /// Reads a fit.
    ///
    /// # Errors
    ///
    /// [`FitLayerError`]: the layers are damaged, of a later version, or not of a fit.
    pub fn from_layers(card: &[u8], numbers: &[u8]) -> Result<Fit, FitLayerError> {
        for (what, n_bytes, most) in
            [("card", card.len(), MAX_CARD_BYTES), ("numbers", numbers.len(), MAX_NUMBERS_BYTES)]
        {
            if n_bytes > most {
                return Err(FitLayerError::TooLarge { what, n_bytes, most });
            }
        }
        // The format first: a later version's card may have other keys.
        #[derive(Deserialize)]
        struct Versioned {
            format: u32,
        }
        let versioned: Versioned = serde_json::from_slice(card).map_err(not_a_card)?;
        if ![CARD_FORMAT, CARD_FORMAT_OF_DEPTH].contains(&versioned.format) {
            return Err(FitLayerError::Format { found: versioned.format });
        }
        let wire: WireFit = serde_json::from_slice(card).map_err(not_a_card)?;
        count("fields", wire.computed.len(), 0, MAX_FIELDS)?;
        let reader = Reader::new(numbers)?;
        let n_fields = wire.computed.len();
        let all = wire.computed.into_iter().chain(wire.computed_early).enumerate();
        let mut fields: Vec<FieldFit> =
            all.map(|(nth, field)| read(nth, field, &reader)).collect::<Result<_, FitLayerError>>()?;
        let of_early = fields.split_off(n_fields);
        let early = early(&wire.card, &fields, of_early)?;
        Ok(Fit { fields, early, card: wire.card })
    }
}

/// The part of the layers that answers these fields, where there is one.
fn early(card: &Card, whole: &[FieldFit], fields: Vec<FieldFit>) -> Result<Option<Early>, FitLayerError> {
    let Some(depth) = card.depth.as_ref().map(|card| card.depth) else { return Ok(None) };
    let is_same = |(one, other): (&FieldFit, &FieldFit)| (&one.name, &one.options) == (&other.name, &other.options);
    if fields.len() != whole.len() || !whole.iter().zip(&fields).all(is_same) {
        return Err(FitLayerError::Card("`computed_early` has other fields than `computed`".to_owned()));
    }
    if depth.layers == 0 || depth.layers >= depth.of {
        return Err(FitLayerError::Card(format!("`depth` is {depth}, which is not a part of them")));
    }
    Ok(Some(Early { depth, fields }))
}

#[allow(clippy::needless_pass_by_value)] // as `map_err` gives it
fn not_a_card(error: serde_json::Error) -> FitLayerError {
    FitLayerError::Card(error.to_string())
}

fn count(what: &'static str, found: usize, least: usize, most: usize) -> Result<(), FitLayerError> {
    if (least..=most).contains(&found) { Ok(()) } else { Err(FitLayerError::Count { what, found, least, most }) }
}

fn written(method: &Method, nth: usize, writer: &mut Writer) -> WireMethod {
    match method {
        Method::Nothing => WireMethod::Nothing,
        Method::Centring { shift } => {
            writer.f64s(format!("{nth}.shift"), shift);
            WireMethod::Centring
        }
        Method::Pool(pool) => {
            let weights: Vec<f64> = [pool.raw_weight].into_iter().chain(pool.experts.iter().map(|one| one.0)).collect();
            writer.f64s(format!("{nth}.weights"), &weights);
            writer.f64s(format!("{nth}.biases"), &pool.biases);
            let experts = pool.experts.iter().enumerate();
            let experts = experts.map(|(at, (_, expert))| written_expert(expert, &format!("{nth}.{at}"), writer));
            let experts = experts.collect();
            WireMethod::Pool { name: pool.name, seen: pool.seen.clone(), experts }
        }
    }
}

fn written_expert(expert: &Expert, name: &str, writer: &mut Writer) -> Vec<WireBlock> {
    writer.f32s(format!("{name}.weights"), &expert.weights);
    writer.f64s(format!("{name}.intercepts"), &expert.intercepts);
    let mut block = |(at, block): (usize, &Block)| match block {
        Block::Logprobs { mean, scale } | Block::State { mean, scale } => {
            writer.f32s(format!("{name}.{at}.mean"), mean);
            writer.f32s(format!("{name}.{at}.scale"), scale);
            if block.is_state() { WireBlock::State } else { WireBlock::Logprobs }
        }
        Block::Words { terms, scale } => {
            writer.u32s(format!("{name}.{at}.columns"), terms.columns());
            writer.f32s(format!("{name}.{at}.idf"), terms.idf());
            writer.f32s(format!("{name}.{at}.scale"), &[*scale]);
            WireBlock::Words { bits: terms.bits() }
        }
    };
    expert.blocks.iter().enumerate().map(&mut block).collect()
}

fn read(nth: usize, wire: WireField, reader: &Reader<'_>) -> Result<FieldFit, FitLayerError> {
    let n = wire.options.len();
    count("options", n, 1, MAX_OPTIONS)?;
    let thresholds = match reader.has(&format!("{nth}.thresholds")) {
        true => reader.f64s(&format!("{nth}.thresholds"), Some(n))?,
        false => Vec::new(),
    };
    let is_sorted = wire.person.is_sorted_by(|a, b| a < b) && wire.person.last().is_none_or(|last| *last < n);
    if !is_sorted {
        return Err(FitLayerError::Card("`person` is not a list of options".to_owned()));
    }
    let method = match wire.method {
        WireMethod::Nothing => Method::Nothing,
        WireMethod::Centring => Method::Centring { shift: reader.f64s(&format!("{nth}.shift"), Some(n))? },
        WireMethod::Pool { name, seen, experts } => {
            if seen.len() != n {
                return Err(FitLayerError::Count { what: "labels in `seen`", found: seen.len(), least: n, most: n });
            }
            let n_seen = seen.iter().filter(|seen| **seen).count();
            count("labels with rows", n_seen, 2, MAX_OPTIONS)?;
            count("experts", experts.len(), 0, MAX_EXPERTS)?;
            let weights = reader.f64s(&format!("{nth}.weights"), Some(1 + experts.len()))?;
            let biases = reader.f64s(&format!("{nth}.biases"), Some(n_seen))?;
            let read = |(at, blocks): (usize, Vec<WireBlock>)| {
                Ok((weights[at + 1], read_expert(&format!("{nth}.{at}"), blocks, n, n_seen, reader)?))
            };
            let experts = experts.into_iter().enumerate().map(read).collect::<Result<_, FitLayerError>>()?;
            Method::Pool(Box::new(Pool { name, seen, raw_weight: weights[0], experts, biases }))
        }
    };
    let gate = Gate { thresholds, person: wire.person };
    Ok(FieldFit { name: wire.name, options: wire.options, method, gate })
}

fn read_expert(
    name: &str,
    blocks: Vec<WireBlock>,
    n_options: usize,
    n_seen: usize,
    reader: &Reader<'_>,
) -> Result<Expert, FitLayerError> {
    count("kinds of evidence", blocks.len(), 1, MAX_BLOCKS)?;
    let read = |(at, block): (usize, WireBlock)| {
        let of = |part: &str| format!("{name}.{at}.{part}");
        Ok(match block {
            WireBlock::Logprobs => Block::Logprobs {
                mean: reader.f32s(&of("mean"), Some(n_options))?,
                scale: reader.f32s(&of("scale"), Some(n_options))?,
            },
            WireBlock::State => {
                let mean = reader.f32s(&of("mean"), None)?;
                let scale = reader.f32s(&of("scale"), Some(mean.len()))?;
                Block::State { mean, scale }
            }
            WireBlock::Words { bits } => {
                let idf = reader.f32s(&of("idf"), None)?;
                let columns = reader.u32s(&of("columns"), idf.len())?;
                let terms = HashedTerms::from_parts(&TERMS, bits, columns, idf)?;
                Block::Words { terms, scale: reader.f32s(&of("scale"), Some(1))?[0] }
            }
        })
    };
    let blocks: Vec<Block> = blocks.into_iter().enumerate().map(read).collect::<Result<_, FitLayerError>>()?;
    let n_outputs = if n_seen == 2 { 1 } else { n_seen };
    let n_columns: usize = blocks.iter().map(Block::n_columns).sum();
    let intercepts = reader.f64s(&format!("{name}.intercepts"), Some(n_outputs))?;
    let weights = reader.f32s(&format!("{name}.weights"), Some(n_columns * n_outputs))?;
    Ok(Expert { blocks, weights, intercepts })
}

#[cfg(test)]
#[path = "layers/tests.rs"]
mod tests;
