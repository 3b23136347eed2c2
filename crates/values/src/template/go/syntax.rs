//! A Go template's source parsed and checked as Go does it; it executes nothing.

use gotmpl::TemplateError;
use gotmpl::parse::{DefineNode, Expr, ListNode, Node, Parser, PipeNode, Pos};
use std::collections::{BTreeMap, BTreeSet};

use super::functions;
use super::nodes::position;

/// Appended to every source: where the parser does not find it at the top, it stopped early or a block is open.
const END: &str = "\u{F8FF}#end";

/// The most `else if` and `else with` of a source: gotmpl bounds how deeply blocks are nested, but not how long such a chain
/// is, which it parses by recursion.
const MAX_ELSE_IFS: usize = 150;

/// A source's own body, and those that it defines by name.
pub(super) struct Parsed {
    pub whole: ListNode,
    pub named: BTreeMap<String, ListNode>,
}

/// Reads a source; what Go refuses when it parses is refused here too.
///
/// # Errors
/// What is wrong and in which line.
pub(super) fn parse(source: &str) -> Result<Parsed, String> {
    if n_else_ifs(source) > MAX_ELSE_IFS {
        return Err(format!("it has more than {MAX_ELSE_IFS} `else if`"));
    }
    let marked = format!("{source}{END}");
    let (mut whole, defines) =
        Parser::new(&marked, "{{", "}}").and_then(Parser::parse).map_err(|error| syntax(&error))?;
    take_end(&mut whole, &defines)?;
    let mut named: BTreeMap<String, ListNode> = BTreeMap::new();
    for define in defines {
        let name = define.name.to_string();
        match named.get(&name) {
            Some(_) if define.body.is_empty_tree() => {}
            Some(known) if !known.is_empty_tree() => {
                return Err(format!("line {}: the template `{name}` is defined twice", define.pos.line));
            }
            _ => drop(named.insert(name, define.body)),
        }
    }
    let mut check = Checker { named: named.keys().cloned().collect(), variables: vec!["$".to_owned()], n_loops: 0 };
    check.body(&whole)?;
    for body in named.values() {
        check.body(body)?;
    }
    Ok(Parsed { whole, named })
}

fn n_else_ifs(source: &str) -> usize {
    let continues = |rest: &&str| ["if", "with"].iter().any(|word| rest.trim_start().starts_with(word));
    source.split("else").skip(1).filter(continues).count()
}

fn syntax(error: &TemplateError) -> String {
    match error {
        // It reached the mark where `}}` should be.
        TemplateError::Parse { line, message, .. } | TemplateError::Lex { line, message, .. }
            if message.contains("\\u{f8ff}") =>
        {
            format!("line {line}: an action is not closed with `}}}}`")
        }
        TemplateError::Parse { line, message, .. } | TemplateError::Lex { line, message, .. } if *line > 0 => {
            format!("line {line}: {}", message.replace(END, ""))
        }
        TemplateError::Parse { message, .. } | TemplateError::Lex { message, .. } => message.clone(),
        other => other.to_string(),
    }
}

/// Removes the mark of the end, which is at the top level where every block is closed and there is no extra `end`.
fn take_end(whole: &mut ListNode, defines: &[DefineNode]) -> Result<(), String> {
    if let Some(Node::Text(last)) = whole.nodes.last_mut()
        && let Some(text) = last.text.strip_suffix(END)
    {
        last.text = text.into();
        if last.text.is_empty() {
            whole.nodes.pop();
        }
        return Ok(());
    }
    let open = std::iter::once(&*whole).chain(defines.iter().map(|define| &define.body)).find_map(open_block);
    Err(match (open, whole.nodes.last()) {
        (Some(line), _) => format!("line {line}: the block that begins here is not closed with `{{{{ end }}}}`"),
        (None, Some(last)) => {
            let line = position(last).line;
            format!("after line {line}: an `{{{{ end }}}}` or `{{{{ else }}}}` belongs to no block")
        }
        (None, None) => "line 1: an `{{ end }}` or `{{ else }}` belongs to no block".to_owned(),
    })
}

/// The line of the innermost block that holds the mark of the end.
fn open_block(list: &ListNode) -> Option<usize> {
    let last = list.nodes.last()?;
    match last {
        Node::Text(text) => text.text.ends_with(END).then_some(list.pos.line),
        Node::If(branch) | Node::Range(branch) | Node::With(branch) => {
            let inner = branch.else_body.as_ref().and_then(open_block).or_else(|| open_block(&branch.body));
            inner.map(|line| line.max(branch.pos.line))
        }
        Node::List(list) => open_block(list),
        _ => None,
    }
}

/// What Go's parser looks up while it parses and gotmpl's does not.
struct Checker {
    named: BTreeSet<String>,
    /// Declared and still to be seen, the innermost last.
    variables: Vec<String>,
    n_loops: usize,
}

impl Checker {
    fn body(&mut self, body: &ListNode) -> Result<(), String> {
        self.variables.truncate(1);
        self.list(body)
    }

    fn list(&mut self, list: &ListNode) -> Result<(), String> {
        list.nodes.iter().try_for_each(|node| self.node(node))
    }

    fn node(&mut self, node: &Node) -> Result<(), String> {
        match node {
            Node::Text(_) | Node::Define(_) => Ok(()),
            Node::List(list) => self.list(list),
            Node::Action(action) => self.pipe(&action.pipe),
            Node::If(branch) | Node::With(branch) | Node::Range(branch) => {
                let n_variables = self.variables.len();
                self.pipe(&branch.pipe)?;
                let is_loop = usize::from(matches!(node, Node::Range(_)));
                self.n_loops += is_loop;
                let n_seen = self.variables.len();
                self.list(&branch.body)?;
                self.n_loops -= is_loop;
                self.variables.truncate(n_seen);
                branch.else_body.iter().try_for_each(|list| self.list(list))?;
                self.variables.truncate(n_variables);
                Ok(())
            }
            Node::Template(call) => {
                if !self.named.contains(call.name.as_str()) {
                    return Err(format!("line {}: there is no template `{}`", call.pos.line, call.name));
                }
                call.pipe.iter().try_for_each(|pipe| self.pipe(pipe))
            }
            Node::Break(pos) | Node::Continue(pos) if self.n_loops == 0 => {
                Err(format!("line {}: `break` and `continue` belong in a `range`", pos.line))
            }
            Node::Break(_) | Node::Continue(_) => Ok(()),
        }
    }

    fn pipe(&mut self, pipe: &PipeNode) -> Result<(), String> {
        for command in &pipe.commands {
            command.args.iter().try_for_each(|argument| self.expression(argument))?;
        }
        for name in &pipe.decl {
            if pipe.is_assign {
                self.variable(name, pipe.pos)?;
            } else {
                self.variables.push(name.to_string());
            }
        }
        Ok(())
    }

    fn expression(&mut self, expression: &Expr) -> Result<(), String> {
        match expression {
            Expr::Identifier(pos, name) if !functions::is_known(name) => {
                Err(format!("line {}: there is no function `{name}`", pos.line))
            }
            Expr::Variable(pos, name, _) => self.variable(name, *pos),
            Expr::Pipe(_, pipe) => self.pipe(pipe),
            Expr::Chain(_, inner, _) => self.expression(inner),
            _ => Ok(()),
        }
    }

    fn variable(&self, name: &str, pos: Pos) -> Result<(), String> {
        if self.variables.iter().any(|known| known == name) {
            return Ok(());
        }
        Err(format!("line {}: there is no variable `{name}`", pos.line))
    }
}
