//! slm's values, parsed into types that cannot be invalid. Pure: no input or output, no clock, no async.

pub mod causes;
pub mod chat;
pub mod contract;
pub mod digest;
pub mod embedded;
pub mod encoding;
pub mod examples;
pub mod gguf;
pub mod imatrix;
pub mod keep_alive;
pub mod limits;
pub mod manifest;
pub mod model_ref;
pub mod modelfile;
pub mod peft;
pub mod progress;
pub mod prompt;
pub mod quantization;
pub mod sampling;
pub mod source;
mod spaced;
pub mod template;
pub mod thinking;
pub mod tools;
