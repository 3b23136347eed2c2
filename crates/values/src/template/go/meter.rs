//! What one rendering may cost: calls written into a parsed template that count steps and bytes; it executes nothing.
//!
//! gotmpl bounds the rounds of loops and the depth of calls, but not what both come to together: a few templates that each
//! call the next one twice run forever, and a text that is joined to itself fills the memory. So every list of nodes and
//! every action is preceded by a call that counts it, and every argument of a function goes through one that counts its
//! bytes. The calls also tell where an error happened, which gotmpl does not. What is printed goes through a last call.

use gotmpl::parse::{ActionNode, CommandNode, Expr, ListNode, Node, Number, PipeNode, Pos};
use gotmpl::{TemplateError, Value};
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::renderer::MAX_OUTPUT;
use super::nodes::position;

/// Steps that one rendering may take: a conversation of a thousand turns takes a tenth of it.
pub(super) const STEPS: u64 = 2_000_000;
/// Bytes of an argument that count as one step.
const BYTES_PER_STEP: u64 = 64;

/// The names of the meter's functions, which no source can write.
pub(super) const AT: &str = "#at";
pub(super) const ARGUMENT: &str = "#argument";
/// The name of the function that makes a text of what is printed; see [`super::printed`].
pub(super) const SHOWN: &str = "#shown";

/// How far one rendering has come.
#[derive(Debug)]
pub(super) struct Meter {
    steps_left: AtomicU64,
    line: AtomicU64,
}

impl Default for Meter {
    fn default() -> Self {
        Meter { steps_left: AtomicU64::new(STEPS), line: AtomicU64::new(0) }
    }
}

impl Meter {
    /// Counts steps.
    ///
    /// # Errors
    /// There are not as many left.
    pub(super) fn take(&self, steps: u64) -> Result<(), TemplateError> {
        let left = self.steps_left.load(Ordering::Relaxed);
        self.steps_left.store(left.saturating_sub(steps), Ordering::Relaxed);
        if steps > left {
            return Err(TemplateError::Exec(format!("it takes more than {STEPS} steps")));
        }
        Ok(())
    }

    /// Counts bytes that are looked through or written.
    ///
    /// # Errors
    /// As [`Meter::take`].
    pub(super) fn take_bytes(&self, bytes: u64) -> Result<(), TemplateError> {
        self.take(bytes / BYTES_PER_STEP + 1)
    }

    /// The function [`AT`]: a line is reached. It writes nothing.
    pub(super) fn at(&self, arguments: &[Value]) -> Result<Value, TemplateError> {
        if let [Value::Int(line)] = arguments {
            self.line.store(u64::try_from(*line).unwrap_or(0), Ordering::Relaxed);
        }
        self.take(1)?;
        Ok(Value::String("".into()))
    }

    /// The function [`ARGUMENT`]: a value goes into another function.
    pub(super) fn argument(&self, arguments: &[Value]) -> Result<Value, TemplateError> {
        let [value] = arguments else { return Err(TemplateError::Exec("wrong number of arguments".to_owned())) };
        self.take_bytes(match value {
            Value::String(text) => text.len() as u64,
            Value::List(items) => items.len() as u64,
            _ => 0,
        })?;
        Ok(value.clone())
    }

    /// An error with the line where it happened.
    pub(super) fn describe(&self, error: &TemplateError) -> String {
        let reason = match error {
            TemplateError::Exec(reason) => reason.clone(),
            TemplateError::RecursionLimit => "its templates call each other too deeply".to_owned(),
            TemplateError::RangeIterLimit => format!("it takes more than {STEPS} steps"),
            TemplateError::Write => format!("it writes more than {} bytes", MAX_OUTPUT),
            other => other.to_string(),
        };
        match self.line.load(Ordering::Relaxed) {
            0 => reason,
            line => format!("line {line}: {reason}"),
        }
    }
}

/// Writes the meter's calls into a body.
pub(super) fn write_into(body: &mut ListNode) {
    let nodes = std::mem::take(&mut body.nodes);
    // Of an empty loop every round counts too.
    body.nodes.push(at(body.pos));
    for mut node in nodes {
        match &mut node {
            Node::Action(action) => {
                count_arguments(&mut action.pipe);
                show(&mut action.pipe);
            }
            Node::If(branch) | Node::Range(branch) | Node::With(branch) => {
                count_arguments(&mut branch.pipe);
                write_into(&mut branch.body);
                branch.else_body.iter_mut().for_each(write_into);
            }
            Node::Template(call) => call.pipe.iter_mut().for_each(count_arguments),
            Node::List(list) => write_into(list),
            Node::Text(_) | Node::Define(_) | Node::Break(_) | Node::Continue(_) => {}
        }
        if !matches!(node, Node::Text(_)) {
            body.nodes.push(at(position(&node)));
        }
        body.nodes.push(node);
    }
}

fn at(pos: Pos) -> Node {
    let line = Expr::Number(pos, Number::Int(i64::try_from(pos.line).unwrap_or(0)));
    let command = CommandNode { pos, args: vec![Expr::Identifier(pos, AT.into()), line] };
    Node::Action(ActionNode { pos, pipe: pipe(pos, vec![command]) })
}

fn pipe(pos: Pos, commands: Vec<CommandNode>) -> PipeNode {
    PipeNode { pos, decl: Vec::new(), commands, is_assign: false }
}

/// Lets what a pipeline prints go through [`SHOWN`]; one that sets a variable prints nothing.
fn show(pipeline: &mut PipeNode) {
    if pipeline.decl.is_empty() {
        let pos = pipeline.pos;
        pipeline.commands.push(CommandNode { pos, args: vec![Expr::Identifier(pos, SHOWN.into())] });
    }
}

fn count_arguments(pipeline: &mut PipeNode) {
    let commands = std::mem::take(&mut pipeline.commands);
    for (number, mut command) in commands.into_iter().enumerate() {
        if number > 0 {
            // What comes through the pipe is the last argument.
            let pos = command.pos;
            pipeline.commands.push(CommandNode { pos, args: vec![Expr::Identifier(pos, ARGUMENT.into())] });
        }
        for (place, argument) in command.args.iter_mut().enumerate() {
            into_inner(argument);
            if place > 0 && !matches!(argument, Expr::Number(..) | Expr::Bool(..) | Expr::Nil(_)) {
                let pos = argument.pos();
                let inner = std::mem::replace(argument, Expr::Nil(pos));
                let args = vec![Expr::Identifier(pos, ARGUMENT.into()), inner];
                *argument = Expr::Pipe(pos, pipe(pos, vec![CommandNode { pos, args }]));
            }
        }
        pipeline.commands.push(command);
    }
}

fn into_inner(expression: &mut Expr) {
    match expression {
        Expr::Pipe(_, inner) => count_arguments(inner),
        Expr::Chain(_, inner, _) => into_inner(inner),
        _ => {}
    }
}
