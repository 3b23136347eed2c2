//! What the quantizer is going to make of weights: each tensor's new type, and so the size of the file.

use serde_json::{Value, json};

use super::Order;
use super::source::Source;
use crate::cli::tensors::{self, Typed};
use crate::engine::quantize::{QuantizeEvent, Requantize};
use crate::failure::Failure;
use crate::gguf::{Header, TensorInfo, TensorType};
use crate::ui::table::{counted, size};

/// Bytes between which ggml's tensors begin.
const ALIGNMENT: u64 = 32;

/// A new type for each tensor of a file.
#[derive(Debug)]
pub struct Plan {
    tensors: Vec<PlannedTensor>,
    /// Of the header, about: its keys stay, but for two numbers.
    header_bytes: u64,
    needs_imatrix: bool,
}

#[derive(Debug)]
struct PlannedTensor {
    from: TensorInfo,
    to: TensorType,
    n_bytes: u64,
}

impl Plan {
    /// What the quantizer said of each tensor.
    #[must_use]
    pub fn of(header: &Header, events: Vec<QuantizeEvent>) -> Plan {
        let mut plan = Plan { tensors: Vec::new(), header_bytes: header.data_offset, needs_imatrix: false };
        for event in events {
            match event {
                QuantizeEvent::NeedsImatrix => plan.needs_imatrix = true,
                QuantizeEvent::Begun { .. } => {}
                QuantizeEvent::Planned { tensor, kind } => {
                    let Some(from) = header.tensor(&tensor).cloned() else { continue };
                    let named =
                        kind.and_then(|name| TensorType::all().find(|known| known.name.eq_ignore_ascii_case(&name)));
                    let to = named.unwrap_or(from.kind);
                    let n_bytes = from.n_bytes_as(to).unwrap_or(from.n_bytes);
                    plan.tensors.push(PlannedTensor { from, to, n_bytes });
                }
            }
        }
        plan
    }

    /// Whether it can be carried out.
    ///
    /// # Errors
    /// Weights would be quantized a second time, or their type needs an importance matrix and has none.
    pub fn check(&self, order: &Order, source: &Source) -> Result<(), Failure> {
        let again: Vec<&PlannedTensor> =
            self.tensors.iter().filter(|one| one.from.kind.is_quantized() && one.from.kind != one.to).collect();
        if order.requantize == Requantize::Refuse
            && let Some(first) = again.first()
        {
            let (name, n) = (&source.name, counted(again.len() as u64, "tensor"));
            return Err(Failure::failed(format!(
                "`{name}` is quantized already ({}): {n} would lose precision a second time, such as `{}` from {} to {}; quantize \
                 from its F16, BF16 or F32 file, or add --requantize",
                source.header.quantization(),
                first.from.name,
                first.from.kind.name,
                first.to.name
            )));
        }
        if self.needs_imatrix && order.imatrix.is_none() {
            return Err(Failure::usage(format!(
                "{} is worthless without an importance matrix; add --imatrix FILE, or take a type of 3 bits or more",
                order.kind
            )));
        }
        Ok(())
    }

    /// The size of the file, exact but for a few bytes of its header.
    #[must_use]
    pub fn n_bytes(&self) -> u64 {
        self.header_bytes + self.tensors.iter().map(|one| one.n_bytes.next_multiple_of(ALIGNMENT)).sum::<u64>()
    }

    #[must_use]
    pub fn bits_per_weight(&self) -> f64 {
        let sum = |of: fn(&PlannedTensor) -> u64| self.tensors.iter().map(of).sum::<u64>() as f64;
        8.0 * sum(|one| one.n_bytes) / sum(|one| one.from.n_elements).max(1.0)
    }

    fn typed(&self) -> impl Iterator<Item = Typed> {
        self.tensors.iter().map(|one| Typed { kind: one.to, n_weights: one.from.n_elements, n_bytes: one.n_bytes })
    }

    /// For people.
    #[must_use]
    pub fn page(&self, order: &Order, source: &Source) -> String {
        let line = |name: &str, n_bytes: u64, bits: f64| {
            format!("{name:<10} {:>8}  {bits:.2} bits per weight\n", size(n_bytes))
        };
        let now = source.header.bits_per_weight().unwrap_or_default();
        let before = line(source.header.quantization(), source.header.n_tensor_bytes(), now);
        let after = line(order.kind.name, self.n_bytes(), self.bits_per_weight());
        format!("{before}{after}\n{}", tensors::table(self.typed()))
    }

    /// For programs.
    #[must_use]
    pub fn as_json(&self, order: &Order, source: &Source) -> Value {
        json!({
            "quantization": order.kind.name,
            "size": self.n_bytes(),
            "bits_per_weight": self.bits_per_weight(),
            "from": {
                "quantization": source.header.quantization(),
                "size": source.header.n_tensor_bytes(),
                "bits_per_weight": source.header.bits_per_weight(),
            },
            "tensor_types": tensors::as_json(self.typed()),
        })
    }
}
