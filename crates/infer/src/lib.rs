//! From a chat or a typed question to a reply, over a loaded model; what of a stored model reaches an engine. It knows no HTTP
//! and no terminal.

pub mod decide;
pub mod extract;
pub mod infer;
pub mod load_spec;
pub mod model_info;
