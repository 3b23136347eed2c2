//! Tools that other providers run for their models or train them on, such as a web search: offered to a model here they are left
//! out, and told; a request that needs one is refused.

use serde_json::Value;

use super::idle_fields::note;
use super::problem::Problem;
use slm_values::tools::{Tool, ToolChoice};

/// What the types of such tools are, or begin with before a version.
const TYPES: [&str; 18] = [
    "advisor",
    "apply_patch",
    "bash",
    "code_execution",
    "code_interpreter",
    "computer",
    "custom",
    "file_search",
    "image_generation",
    "local_shell",
    "mcp",
    "memory",
    "namespace",
    "shell",
    "text_editor",
    "tool_search",
    "web_fetch",
    "web_search",
];
const WHY: &str = "only the client's own tools, with a schema, are supported";

/// The tools of a request that were left out.
#[derive(Debug, Default)]
pub struct LeftOut(Vec<String>);

impl LeftOut {
    /// Leaves out the tool at this place of a request if it is of such a type, and says whether it was.
    pub fn takes(&mut self, kind: &str, name: Option<&str>, at: &str) -> bool {
        let Some(known) = known(kind) else { return false };
        note(&format!("{at} {known}"), WHY);
        self.0.extend([name.unwrap_or(kind).to_owned(), kind.to_owned()]);
        true
    }

    /// Checks the choice against the tools that are there.
    ///
    /// # Errors
    /// It needs a tool that is not there; where that was left out, it says so.
    pub fn check(&self, choice: &ToolChoice, tools: &[Tool], at: &str) -> Result<(), Problem> {
        let missing = match choice {
            ToolChoice::Named(name) if !tools.iter().any(|tool| tool.name() == name) => {
                self.0.iter().find(|left| *left == name)
            }
            ToolChoice::Required if tools.is_empty() => self.0.first(),
            _ => None,
        };
        match missing {
            Some(name) => Err(Problem::unsupported_value(
                format!("`{at}` asks for a call of `{name}`, which slm cannot run: {WHY}"),
                at,
            )),
            None => Ok(choice.check(tools, at)?),
        }
    }
}

/// The type of this list that a tool's type is, or begins with.
fn known(kind: &str) -> Option<&'static str> {
    let is_of = |known: &&str| kind.strip_prefix(*known).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'));
    TYPES.into_iter().find(is_of)
}

/// Whether a type is one of those that are left out.
#[must_use]
pub fn is_known(kind: &str) -> bool {
    known(kind).is_some()
}

/// The type of a tool, where it says one.
#[must_use]
pub fn kind(tool: &Value) -> Option<&str> {
    tool.get("type")?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_known_with_and_without_their_versions() {
        for kind in [
            "web_search",
            "web_search_20250305",
            "web_search_preview",
            "web_search_preview_2025_03_11",
            "bash_20250124",
            "tool_search_tool_regex_20251119",
            "computer_use_preview",
            "mcp",
            "local_shell",
            "custom",
        ] {
            assert!(LeftOut::default().takes(kind, None, "tools[0]"), "{kind}");
        }
        for kind in ["function", "web_searches", "my_web_search", "", "shells"] {
            assert!(!LeftOut::default().takes(kind, None, "tools[0]"), "{kind}");
        }
    }

    #[test]
    fn a_choice_of_one_is_refused() {
        let mut left_out = LeftOut::default();
        assert!(left_out.takes("web_search_20250305", Some("web_search"), "tools[0]"));
        let own = [Tool::new("add", None, None, "tools[1]").unwrap()];
        let check = |choice: ToolChoice, tools: &[Tool]| {
            left_out.check(&choice, tools, "tool_choice").map_err(|problem| problem.message)
        };
        let needed = format!("`tool_choice` asks for a call of `web_search`, which slm cannot run: {WHY}");
        assert_eq!(check(ToolChoice::Named("web_search".into()), &own), Err(needed.clone()));
        assert_eq!(check(ToolChoice::Required, &[]), Err(needed));
        assert_eq!(check(ToolChoice::Required, &own), Ok(()));
        assert_eq!(check(ToolChoice::Named("add".into()), &own), Ok(()));
        assert_eq!(check(ToolChoice::Auto, &[]), Ok(()));
        let unknown = "`tool_choice`: there is no tool `sub`; there are `add`";
        assert_eq!(check(ToolChoice::Named("sub".into()), &own), Err(unknown.to_owned()));
    }
}
