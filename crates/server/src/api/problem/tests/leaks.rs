//! What clients are told of: never a flag, nor a field that their dialect does not have.

use serde_json::json;

use super::super::{Advice, Kind, Part, Problem};
use super::variants::{
    admissions, computing, contracts, engines, forbidden, ggufs, inferring, manifests, modelfiles, name_error, names,
    openings, parts, pefts, places, pushes, questions, refusals, registries, sources, stale, stores, templates,
    thinking, tools, transfers, violations, x,
};
use crate::api::dialect::Dialect;
use slm_engine::EngineError;
use slm_infer::infer::InferError;
use slm_store::registry::RegistryError;
use slm_store::transfer::{PushError, TransferError};
use slm_values::keep_alive::KeepAlive;
use slm_values::sampling;
use slm_values::template::ThinkingError;
use slm_values::tools::ToolError;

/// Errors that reach a client in the words of another, wherever they are told of.
fn inner() -> Vec<String> {
    let duration = "x".parse::<KeepAlive>().unwrap_err();
    let told = [
        said(&questions()),
        said(&violations()),
        said(&templates()),
        said(&manifests()),
        said(&ggufs()),
        said(&pefts()),
        said(&modelfiles()),
        vec![duration.to_string()],
    ];
    told.into_iter().flatten().collect()
}

fn said(errors: &[impl ToString]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

/// Every error as the problem that clients are told of.
fn problems() -> Vec<Problem> {
    fn all<E: Into<Problem>>(errors: Vec<E>) -> impl Iterator<Item = Problem> {
        errors.into_iter().map(Into::into)
    }
    let through_registry = || {
        let forbidden = |why| RegistryError::Forbidden { from: x(), to: x(), why };
        registries().into_iter().chain(self::forbidden().into_iter().map(forbidden))
    };
    let registry = |source| TransferError::Registry { name: x(), source };
    let broken = |source| PushError::Broken { name: x(), source };
    let stored = |source| TransferError::Store { name: x(), source: Box::new(source) };
    all(computing().into_iter().map(EngineError::Compute).collect())
        .chain(all(engines()))
        .chain(all(thinking().into_iter().map(InferError::Think).collect()))
        .chain(all(tools()))
        .chain(all(inferring()))
        .chain(all(stale().into_iter().map(InferError::StaleFit).collect()))
        .chain(all(contracts()))
        .chain(all(names().into_iter().map(name_error).collect()))
        .chain(all(sources()))
        .chain(all(stores()))
        .chain(all(stores().into_iter().map(stored).collect()))
        .chain(all(through_registry().map(registry).collect()))
        .chain(all(through_registry().map(broken).collect()))
        .chain(all(places()))
        .chain(all(transfers()))
        .chain(all(pushes()))
        .chain(all(openings()))
        .chain(all(parts()))
        .chain(all(refusals()))
        .chain(all(admissions()))
        .chain(inner().into_iter().map(Problem::invalid))
        .collect()
}

const DIALECTS: [Dialect; 7] = [
    Dialect::Ollama,
    Dialect::Chat,
    Dialect::Completions,
    Dialect::Responses,
    Dialect::OpenAi,
    Dialect::Anthropic,
    Dialect::SystemOne,
];

const PARTS: [Part; 13] = [
    Part::Fit,
    Part::Bias,
    Part::Think,
    Part::Form,
    Part::Tools,
    Part::Suffix,
    Part::Template,
    Part::Context,
    Part::AnswerTokens,
    Part::Batch,
    Part::GpuLayers,
    Part::MainGpu,
    Part::Insecure,
];

/// Names of other dialects' fields, as a message would hold them.
fn foreign(dialect: Dialect) -> Vec<String> {
    let named = |dialect: Dialect| PARTS.into_iter().filter_map(move |part| dialect.name(part));
    let own: Vec<&str> = named(dialect).collect();
    let others = DIALECTS.into_iter().flat_map(named).chain(["keep_alive", "options"]);
    let options = sampling::names().filter(|name| name.contains('_') && *name != "top_k" && *name != "top_p");
    let options = options.filter(|_| dialect != Dialect::Ollama);
    others
        .filter(|name| !own.contains(name))
        .map(|name| format!("`{name}`"))
        .chain(options.map(str::to_owned))
        .collect()
}

#[test]
fn no_client_is_told_of_a_flag_or_of_anothers_field() {
    let flag = regex::Regex::new("--[a-z]").unwrap();
    let problems = problems();
    assert!(problems.len() > 200, "{}", problems.len());
    for dialect in DIALECTS {
        let foreign = foreign(dialect);
        for problem in &problems {
            let body = dialect.body(problem).to_string();
            assert!(!flag.is_match(&body), "{dialect:?}: {body}");
            let name = foreign.iter().find(|name| body.contains(*name));
            assert_eq!(name, None, "{dialect:?}: {body}");
        }
    }
}

#[test]
fn advice_has_the_words_of_who_asks() {
    let told = |dialect: Dialect, error: EngineError| dialect.message(&error.into());
    let context = || EngineError::Context { needed: 9000, n_ctx: 8192 };
    let long = "the prompt is too long: 9000 tokens are needed, the context has 8192; shorten the prompt, or";
    assert_eq!(told(Dialect::Ollama, context()), format!("{long} raise `options.num_ctx`"));
    assert_eq!(told(Dialect::Chat, context()), format!("{long} start the server with a larger context"));
    let thinking = |dialect: Dialect| dialect.body(&InferError::Think(ThinkingError::Never).into());
    let never = |name: &str| format!("this model does not think before it answers; remove `{name}`");
    assert_eq!(thinking(Dialect::Ollama), json!({"error": never("think")}));
    assert_eq!(thinking(Dialect::Anthropic)["error"]["message"], never("thinking"));
    let chat = thinking(Dialect::Chat);
    assert_eq!(
        (&chat["error"]["message"], &chat["error"]["param"]),
        (&json!(never("reasoning_effort")), &json!("reasoning_effort"))
    );
    assert_eq!(thinking(Dialect::Responses)["error"]["param"], "reasoning.effort");
    let line = Problem::new(Kind::Forbidden, "no").or(Advice::TrustLine);
    assert_eq!(Dialect::Ollama.message(&line), "no; if you trust the network, set `insecure` to `true`");
    assert_eq!(Dialect::Chat.message(&line), "no");
}

#[test]
fn a_tools_place_is_the_dialects_own() {
    let problem = |at: &str| Problem::from(ToolError::Missing { at: at.to_owned() });
    let told = |dialect: Dialect, at: &str| {
        let problem = problem(at);
        (dialect.message(&problem), dialect.field(&problem).unwrap())
    };
    let at = "tools[1].function.parameters.type";
    let expected = |at: &str| (format!("`{at}` is missing"), at.to_owned());
    assert_eq!(told(Dialect::Chat, at), expected(at));
    assert_eq!(told(Dialect::Ollama, at), expected(at));
    assert_eq!(told(Dialect::Responses, at), expected("tools[1].parameters.type"));
    assert_eq!(told(Dialect::Anthropic, at), expected("tools[1].input_schema.type"));
    assert_eq!(told(Dialect::Responses, "tool_choice.function.name"), expected("tool_choice.name"));
    let call = "messages[1].tool_calls[0].function.name";
    assert_eq!(told(Dialect::Responses, call), expected(call));
}
