//! Which characters are exchanged for their twins, and which a template sees as they are.

/// Which characters of a content become twins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TwinPolicy {
    /// All.
    Whole,
    /// All but the white space at both ends.
    Core,
    /// As `Core`, but no white space at all.
    Visible,
    /// As `Core`, but not those that JSON escapes.
    Escaped,
    /// As `Core`, but neither white space nor the template's own literals in assistants' contents.
    Reasoning(Fences),
    /// As `Reasoning` in all contents, but the literals that hold special tokens only in assistants'.
    Literals(Fences),
}

/// Which characters of a contract, of tools and of calls become twins; white space never does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JsonTwinPolicy {
    /// All of its texts and of the names that it gives to fields.
    Texts,
    /// The signs of special tokens. Letters and digits stay, so that a template can look for a field by its name;
    /// special tokens of nothing but letters are then text.
    Signs,
}

/// Whether literals that hold special tokens are set between fences, characters that no text has: in a rendering with
/// fences, such a literal from a content is next to a fence, while the template's own is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fences {
    None,
    Around,
}

impl TwinPolicy {
    /// The same exchange with fences, where it leaves special tokens in contents.
    pub(super) fn fenced(self) -> Option<TwinPolicy> {
        match self {
            TwinPolicy::Reasoning(_) => Some(TwinPolicy::Reasoning(Fences::Around)),
            TwinPolicy::Literals(_) => Some(TwinPolicy::Literals(Fences::Around)),
            TwinPolicy::Whole | TwinPolicy::Core | TwinPolicy::Visible | TwinPolicy::Escaped => None,
        }
    }

    pub(super) fn has_fences(self) -> bool {
        matches!(self, TwinPolicy::Reasoning(Fences::Around) | TwinPolicy::Literals(Fences::Around))
    }
}
