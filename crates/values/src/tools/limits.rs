//! Limits of a request: the maximum of tools, calls, bytes, nesting and characters.

/// The most tools of one request, as many as OpenAI takes.
pub const MAX_TOOLS: usize = 128;
/// The most calls of one message.
pub const MAX_CALLS: usize = 128;
/// The most bytes of all tools of a request, or all calls of a message, as JSON.
pub const MAX_BYTES: usize = 1 << 20;
/// Lists and objects within each other.
pub const MAX_DEPTH: usize = 64;
/// The most characters of a name.
pub const MAX_NAME: usize = 128;
