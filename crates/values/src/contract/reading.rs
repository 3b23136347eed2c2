//! Reads a schema once, for closed and open contracts alike: its places, and the validator of whole answers.

use std::sync::Arc;

use jsonschema::Validator;
use serde_json::Value;

use super::document::Document;
use super::error::{ContractError, Pointer};
use super::grammar::on_stack;
use super::modern::modern;
use super::places::Places;
use super::validator::validator;

/// The most bytes of a schema's text.
const MAX_SCHEMA_BYTES: usize = 8 << 20;

/// A schema that was read.
pub(super) struct Reading<'s> {
    pub document: Document<'s>,
    pub places: Places,
    /// Of whole answers, as the schema was given.
    pub validator: Arc<Validator>,
}

/// Reads a schema, and makes something of it.
///
/// # Errors
/// [`ContractError`], naming the place in the schema and the keyword that cannot be enforced.
pub(super) fn read<T: Send>(
    schema: &Value,
    then: impl FnOnce(&mut Reading<'_>) -> Result<T, ContractError> + Send,
) -> Result<T, ContractError> {
    let work = || {
        let size = schema.to_string().len();
        if size > MAX_SCHEMA_BYTES {
            return Err(
                Pointer::root().refused(format!("it has {size} bytes, and at most {MAX_SCHEMA_BYTES} are supported"))
            );
        }
        let modern = modern(schema);
        let mut document = Document::new(schema, &modern);
        let places = Places::explore(&mut document)?;
        let validator = validator(&modern).map_err(|reason| Pointer::root().refused(reason))?;
        then(&mut Reading { document, places, validator: Arc::new(validator) })
    };
    on_stack(work).map_err(|reason| Pointer::root().refused(reason))?
}
