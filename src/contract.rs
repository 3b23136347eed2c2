//! What an answer may be: a JSON Schema, parsed into a type that cannot be wrong.
