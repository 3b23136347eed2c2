//! `slm --version`: the version, and with --verbose what was built and what is used here.

use crate::engine;
use crate::failure::{Exit, Outcome};
use crate::ui::output::Output;

/// Prints the version.
///
/// # Errors
/// Standard output cannot be written.
pub fn print(is_verbose: bool) -> Outcome {
    let build = engine::build();
    let mut text = format!("slm {}\n", build.version);
    if is_verbose {
        let or_none = |names: Vec<&str>| if names.is_empty() { "none".to_owned() } else { names.join(" ") };
        let lines = [
            ("target", build.target.to_owned()),
            ("llama-cpp-sys-2", build.llama_cpp.to_owned()),
            ("ggml-x86", build.kernels.map_or_else(|| "none".to_owned(), |version| version.to_string())),
            ("ggml built for", or_none(build.ggml_switches.split_whitespace().collect())),
            ("this processor", engine::processor()),
            ("missing here", or_none(build.missing_on_this_processor())),
            ("unused here", or_none(build.unused_on_this_processor())),
            ("GPU backends", or_none(build.ggml_backends.split_whitespace().collect())),
            ("threads", engine::default_threads().to_string()),
            ("rustc", build.rustc.to_owned()),
            ("c++", build.compilers.to_owned()),
            ("build id", build.id.to_owned()),
        ];
        for (name, value) in lines {
            text += &format!("{name:<16} {value}\n");
        }
    }
    Output::default().text(&text)?;
    Ok(Exit::Done)
}
