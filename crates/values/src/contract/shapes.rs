//! What a place of an answer may be: variants of one node of a schema, and shapes of what several nodes allow together.

use serde_json::Value;

use super::error::Pointer;
use super::keywords::Kind;
use super::numbers::NumberRules;
use super::rules::Empty;
use super::texts::TextRules;

/// One schema in a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct NodeId(pub usize);

/// Nodes that hold together, each once, in order; empty where nothing is asked.
pub(super) type Conjunction = Vec<NodeId>;

pub(super) type Variants = Vec<Variant>;

/// Some of the values that a node allows.
#[derive(Debug, Clone)]
pub(super) enum Variant {
    Values(Vec<Listed>),
    Typed(Typed),
}

/// A value that a schema lists.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Listed {
    pub value: Value,
    pub description: Option<String>,
    pub origin: Origin,
}

/// Why a value is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// By `enum` or `const`, or as `null`.
    Named,
    /// As one of the two values of `boolean`.
    Boolean,
    /// As a whole number between bounds.
    Integer,
}

/// Values of one type.
#[derive(Debug, Clone)]
pub(super) struct Typed {
    pub kind: Kind,
    /// Only whole numbers.
    pub is_whole: bool,
    /// The nodes whose keywords hold.
    pub nodes: Vec<NodeId>,
    pub unevaluated: Vec<Unevaluated>,
    /// Properties that must be there, and those that must not, so that an object is not two parts of a `oneOf`.
    pub apart: Apart,
}

/// What keeps the objects of one part of a `oneOf` out of the others.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Apart {
    pub present: Vec<String>,
    pub absent: Vec<String>,
}

impl Apart {
    pub fn add(&mut self, other: &Apart) {
        for (all, more) in [(&mut self.present, &other.present), (&mut self.absent, &other.absent)] {
            for name in more {
                if !all.contains(name) {
                    all.push(name.clone());
                }
            }
        }
    }
}

/// `unevaluatedProperties` or `unevaluatedItems`: a node for what none of the others speaks of.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Unevaluated {
    pub node: NodeId,
    pub beside: Vec<NodeId>,
}

/// What a conjunction allows.
#[derive(Debug, Clone)]
pub(super) struct Domain {
    /// Together they are all that is allowed; empty where nothing is.
    pub shapes: Vec<Shape>,
    /// Why nothing is allowed, or less than was written.
    pub why: Option<Empty>,
}

/// Some of the values that are allowed.
#[derive(Debug, Clone)]
pub(super) enum Shape {
    Values(Vec<Listed>),
    Number(NumberRules),
    Text(TextRules),
    List(ListRules),
    Object(ObjectRules),
}

/// What is asked of a list.
#[derive(Debug, Clone)]
pub(super) struct ListRules {
    pub at: Pointer,
    /// The items that have rules of their own by their place.
    pub first: Vec<Conjunction>,
    /// Those after them; `None` where there are none.
    pub rest: Option<Conjunction>,
    pub least: u64,
    pub most: Option<u64>,
    /// Where it is asked that each item comes once.
    pub unique: Option<Pointer>,
}

/// What is asked of an object.
#[derive(Debug, Clone)]
pub(super) struct ObjectRules {
    pub at: Pointer,
    pub named: Vec<Named>,
    /// Names that no property has.
    pub forbidden: Vec<String>,
    /// Properties whose names match an expression.
    pub matching: Vec<(String, Conjunction)>,
    /// Properties of any other name; `None` where there are none.
    pub rest: Option<Conjunction>,
    pub least: u64,
    pub most: Option<u64>,
}

/// A property that has a name.
#[derive(Debug, Clone)]
pub(super) struct Named {
    pub name: String,
    pub nodes: Conjunction,
    pub is_required: bool,
}
