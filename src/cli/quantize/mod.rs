//! Weights of a model written in another type: what is asked for, the process that does it, and the file that comes of it. It
//! gives no model a name.

pub mod args;
pub mod plan;
pub mod process;
pub mod report;
pub mod source;

use crate::engine;
use crate::engine::quantize::{ImatrixFile, QuantizeEvent, QuantizeJob, Requantize};
use crate::failure::Failure;
use crate::progress::Progress as _;
use crate::quantization::{Quantization, TensorOverride};
use crate::store::{Made, Store};
use crate::ui::output::say;
use crate::ui::progress::Bytes;
use crate::ui::table::size;
use plan::Plan;
use source::Source;

/// The most bytes of a tensor's numbers that the quantizer holds at once; larger tensors go through it in parts.
const MAX_BUFFER_BYTES: u64 = 256 << 20;

/// What is asked of the quantizer, whatever the weights.
#[derive(Debug, Clone)]
pub struct Order {
    pub kind: Quantization,
    pub overrides: Vec<TensorOverride>,
    pub requantize: Requantize,
    pub n_threads: Option<u32>,
    pub imatrix: Option<ImatrixFile>,
}

impl Order {
    fn job(&self, source: &Source, target: Option<std::path::PathBuf>) -> QuantizeJob {
        QuantizeJob {
            source: source.first().to_owned(),
            target,
            file_type: self.kind.file_type,
            overrides: self.overrides.clone(),
            n_threads: self.n_threads.unwrap_or_else(engine::default_threads).max(1),
            max_buffer_bytes: MAX_BUFFER_BYTES,
            requantize: self.requantize,
            imatrix: self.imatrix.clone(),
        }
    }

    /// What would become of the weights.
    ///
    /// # Errors
    /// The quantizer refuses them, they have lost precision already, or an importance matrix is missing.
    pub fn plan(&self, source: &Source) -> Result<Plan, Failure> {
        let mut events = Vec::new();
        process::run(&self.job(source, None), |event| events.push(event)).map_err(|failure| source.failure(failure))?;
        let plan = Plan::of(&source.header, events);
        plan.check(self, source)?;
        Ok(plan)
    }

    /// Quantizes the weights as planned, into a file of the store's that is nobody's yet.
    ///
    /// # Errors
    /// The quantizer fails or is interrupted, or the disk has no room. Then nothing is left.
    pub fn make(&self, source: &Source, plan: &Plan, store: &Store) -> Result<Made, Failure> {
        let making = store.make_file(plan.n_bytes())?;
        let progress = Bytes::default();
        progress.start(&format!("quantizing to {}", self.kind), source.header.n_tensor_bytes());
        let mut at: Option<u64> = None;
        let done = process::run(&self.job(source, Some(making.path().to_owned())), |event| {
            if let QuantizeEvent::Begun { tensor } = event {
                progress.advance(at.take().unwrap_or(0));
                at = source.header.tensor(&tensor).map(|tensor| tensor.n_bytes);
            }
        });
        progress.finish();
        done.map_err(|failure| source.failure(failure))?;
        Ok(making.finish(&Bytes::default())?)
    }

    /// Says what is going to be made.
    pub fn announce(&self, source: &Source, plan: &Plan) {
        say(format_args!(
            "quantizing to {}: about {} at {:.2} bits per weight, from {} at {:.2}",
            self.kind,
            size(plan.n_bytes()),
            plan.bits_per_weight(),
            size(source.header.n_tensor_bytes()),
            source.header.bits_per_weight().unwrap_or_default()
        ));
    }
}
