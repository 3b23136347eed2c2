//! A schema as the nodes that it consists of: where each stands, what it refers to, and which values it allows.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::rc::Rc;

use jsonschema::{Registry, Validator};
use serde_json::{Map, Value, json};

use super::error::{ContractError, Pointer, one_line};
use super::keywords;
use super::modern;
use super::shapes::{Conjunction, Domain, NodeId, Variants};
use super::validator::{options, refusal, registered};

/// Schemas in a schema.
const MAX_NODES: usize = 10_000;
/// Steps of work that one schema may cost: about a second's.
const MAX_STEPS: usize = 100_000;
/// The steps of compiling a validator.
const STEPS_OF_VALIDATOR: usize = 20;
/// The name under which validators of single nodes find the whole.
const WHOLE: &str = "slm:/schema";

/// What several nodes allow together: `domain::of`, which those that it needs ask again for what is inside.
///
/// # Errors
/// [`ContractError::Schema`]: something that is asked cannot be enforced.
pub(super) type Allowed = fn(&mut Document<'_>, &[NodeId]) -> Result<Domain, ContractError>;

/// A schema, and what was found out about its nodes.
pub(super) struct Document<'s> {
    root: &'s Value,
    modern: &'s Value,
    nodes: Vec<(Pointer, &'s Value)>,
    ids: HashMap<Pointer, NodeId>,
    anchors: OnceCell<HashMap<String, Pointer>>,
    registry: OnceCell<Result<Registry<'s>, String>>,
    validators: HashMap<NodeId, Validator>,
    n_steps: usize,
    /// What nodes allow; `None` while that is being found out.
    pub variants: HashMap<NodeId, Option<Rc<Variants>>>,
}

impl<'s> Document<'s> {
    /// `modern` is the same schema in the spelling of draft 2020-12.
    pub fn new(root: &'s Value, modern: &'s Value) -> Self {
        Document {
            root,
            modern,
            nodes: Vec::new(),
            ids: HashMap::new(),
            anchors: OnceCell::new(),
            registry: OnceCell::new(),
            validators: HashMap::new(),
            n_steps: 0,
            variants: HashMap::new(),
        }
    }

    /// The node of the whole schema.
    ///
    /// # Errors
    /// As [`Document::node`].
    pub fn root(&mut self) -> Result<NodeId, ContractError> {
        self.node(Pointer::root(), self.root)
    }

    /// The node of the schema at a place.
    ///
    /// # Errors
    /// [`ContractError::Schema`]: it is not a schema, or there are too many.
    pub fn node(&mut self, at: Pointer, schema: &'s Value) -> Result<NodeId, ContractError> {
        if let Some(&id) = self.ids.get(&at) {
            return Ok(id);
        }
        if !(schema.is_object() || schema.is_boolean()) {
            return Err(at.refused("a schema is a JSON object, `true` or `false`"));
        }
        if self.nodes.len() == MAX_NODES {
            return Err(at.refused(format!("there are more than {MAX_NODES} schemas in it")));
        }
        let id = NodeId(self.nodes.len());
        self.nodes.push((at.clone(), schema));
        self.ids.insert(at, id);
        Ok(id)
    }

    /// The nodes of the schemas in a list, such as that of `anyOf`.
    ///
    /// # Errors
    /// [`ContractError::Schema`]: it is not a list of schemas.
    pub fn list(&mut self, at: &Pointer, schemas: &'s Value) -> Result<Vec<NodeId>, ContractError> {
        let list = schemas.as_array().filter(|list| !list.is_empty());
        let list = list.ok_or_else(|| at.refused("it is not a list of schemas"))?;
        list.iter().enumerate().map(|(number, schema)| self.node(at.below(&number.to_string()), schema)).collect()
    }

    pub fn at(&self, id: NodeId) -> &Pointer {
        &self.nodes[id.0].0
    }

    pub fn schema(&self, id: NodeId) -> &'s Value {
        self.nodes[id.0].1
    }

    /// The keywords of a node; `None` for `true` and `false`.
    pub fn map(&self, id: NodeId) -> Option<&'s Map<String, Value>> {
        self.schema(id).as_object()
    }

    /// Counts work, so that a small schema cannot cost minutes.
    ///
    /// # Errors
    /// [`ContractError::Schema`]: there was too much of it.
    pub fn pay(&mut self, n_steps: usize, at: &Pointer) -> Result<(), ContractError> {
        self.n_steps = self.n_steps.saturating_add(n_steps);
        if self.n_steps > MAX_STEPS {
            return Err(at.refused("the schema is too complex; use fewer choices or fewer combined parts"));
        }
        Ok(())
    }

    /// As [`Document::pay`], for a validator of a part of the schema, such as a pattern.
    ///
    /// # Errors
    /// As [`Document::pay`].
    pub fn pay_validator(&mut self, at: &Pointer) -> Result<(), ContractError> {
        self.pay(STEPS_OF_VALIDATOR, at)
    }

    /// The nodes in order and each once, without those that allow everything.
    pub fn conjunction(&self, nodes: impl IntoIterator<Item = NodeId>) -> Conjunction {
        let is_asked = |id: &NodeId| match self.schema(*id) {
            Value::Bool(allowed) => !allowed,
            Value::Object(map) => !keywords::is_trivial(map),
            _ => true,
        };
        let mut nodes: Conjunction = nodes.into_iter().filter(is_asked).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    /// Whether one of the nodes is the schema `false`.
    pub fn is_forbidden(&self, nodes: &[NodeId]) -> bool {
        nodes.iter().any(|&id| self.schema(id) == &Value::Bool(false))
    }

    /// What a node allows, where that is known.
    pub fn known_variants(&self, id: NodeId) -> Option<Rc<Variants>> {
        self.variants.get(&id).cloned().flatten()
    }

    /// The node that a `$ref` points to.
    ///
    /// # Errors
    /// [`ContractError::Schema`]: it does not point into this schema.
    pub fn target(&mut self, reference: &Value, at: &Pointer) -> Result<NodeId, ContractError> {
        let refused = || {
            at.refused(format!(
                "{reference} does not point into this schema; references to other files are not supported"
            ))
        };
        let text = reference.as_str().ok_or_else(refused)?;
        let own = self.root.get("$id").and_then(Value::as_str).unwrap_or_default().trim_end_matches('#');
        let fragment = modern::local(text, own).strip_prefix('#').ok_or_else(refused)?;
        let fragment = percent_decoded(fragment).ok_or_else(refused)?;
        let pointer = if fragment.is_empty() || fragment.starts_with('/') {
            Pointer::of(fragment)
        } else {
            self.anchors.get_or_init(|| anchors(self.root)).get(&fragment).cloned().ok_or_else(refused)?
        };
        let found = self.root.pointer(pointer.as_str()).ok_or_else(refused)?;
        self.node(pointer, found)
    }

    /// Whether a node allows a value, in the words of the independent validator.
    ///
    /// # Errors
    /// [`ContractError::Schema`]: the validator cannot read the node.
    pub fn allows(&mut self, id: NodeId, value: &Value) -> Result<bool, ContractError> {
        let at = self.at(id).clone();
        self.pay(1, &at)?;
        if let Some(validator) = self.validators.get(&id) {
            return Ok(validator.is_valid(value));
        }
        self.pay_validator(&at)?;
        let registry = self.registry.get_or_init(|| registered(WHOLE, self.modern));
        let place = modern::pointer(self.root, at.as_str());
        let reference = json!({ "$ref": format!("{WHOLE}#{}", percent_encoded(place.as_str())) });
        let built = registry.as_ref().map_err(Clone::clone).and_then(|registry| {
            options().with_registry(registry).build(&reference).map_err(|error| refusal(&one_line(&error)))
        });
        let validator = built.map_err(|reason| at.refused(reason))?;
        let is_valid = validator.is_valid(value);
        self.validators.insert(id, validator);
        Ok(is_valid)
    }
}

/// The places of a schema's anchors.
fn anchors(root: &Value) -> HashMap<String, Pointer> {
    let mut found = HashMap::new();
    let mut left = vec![(Pointer::root(), root)];
    while let Some((at, value)) = left.pop() {
        match value {
            Value::Object(map) => {
                for keyword in ["$anchor", "$dynamicAnchor"] {
                    if let Some(name) = map.get(keyword).and_then(Value::as_str) {
                        found.insert(name.to_owned(), at.clone());
                    }
                }
                let is_schema = |key: &str| !["const", "enum", "default", "examples"].contains(&key);
                left.extend(map.iter().filter(|(key, _)| is_schema(key)).map(|(key, value)| (at.below(key), value)));
            }
            Value::Array(list) => {
                left.extend(list.iter().enumerate().map(|(number, value)| (at.below(&number.to_string()), value)));
            }
            _ => {}
        }
    }
    found
}

/// A fragment of a URI as the text that it spells (RFC 3986, 2.1).
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

fn percent_encoded(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~$".contains(&byte);
    text.bytes().map(|b| if is_plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}
