//! The nodes of a parsed Go template: looked through, and cut at the response; it executes nothing.

use gotmpl::parse::{ActionNode, CommandNode, Expr, ListNode, Node, PipeNode, Pos};

/// Where a node is in its source.
pub(super) fn position(node: &Node) -> Pos {
    match node {
        Node::List(list) => list.pos,
        Node::Text(text) => text.pos,
        Node::Action(action) => action.pos,
        Node::If(branch) | Node::Range(branch) | Node::With(branch) => branch.pos,
        Node::Template(call) => call.pos,
        Node::Define(define) => define.pos,
        Node::Break(pos) | Node::Continue(pos) => *pos,
    }
}

/// The names of fields and variables in a body, as Ollama looks for `messages` and `response` among them.
pub(super) fn identifiers(body: &ListNode, names: &mut Vec<String>) {
    each_expression(body, &mut |expression| match expression {
        Expr::Field(_, fields) => names.extend(fields.iter().map(ToString::to_string)),
        Expr::Variable(_, name, fields) => {
            names.push(name.to_string());
            names.extend(fields.iter().map(ToString::to_string));
        }
        _ => {}
    });
}

/// The texts in quotes.
pub(super) fn literals(body: &ListNode, found: &mut Vec<String>) {
    each_expression(body, &mut |expression| {
        if let Expr::String(_, text) = expression {
            found.push(text.to_string());
        }
    });
}

fn each_expression(list: &ListNode, visit: &mut dyn FnMut(&Expr)) {
    for node in &list.nodes {
        match node {
            Node::Action(action) => each_of_pipe(&action.pipe, visit),
            Node::If(branch) | Node::Range(branch) | Node::With(branch) => {
                each_of_pipe(&branch.pipe, visit);
                each_expression(&branch.body, visit);
                branch.else_body.iter().for_each(|list| each_expression(list, visit));
            }
            Node::Template(call) => call.pipe.iter().for_each(|pipe| each_of_pipe(pipe, visit)),
            Node::List(list) => each_expression(list, visit),
            Node::Text(_) | Node::Define(_) | Node::Break(_) | Node::Continue(_) => {}
        }
    }
}

fn each_of_pipe(pipe: &PipeNode, visit: &mut dyn FnMut(&Expr)) {
    for argument in pipe.commands.iter().flat_map(|command| &command.args) {
        each_inner(argument, visit);
    }
}

fn each_inner(expression: &Expr, visit: &mut dyn FnMut(&Expr)) {
    visit(expression);
    match expression {
        Expr::Pipe(_, pipe) => each_of_pipe(pipe, visit),
        Expr::Chain(_, inner, _) => each_inner(inner, visit),
        _ => {}
    }
}

/// `{{ .Response }}`, which a template without one ends with.
pub(super) fn response() -> Node {
    let pos = Pos::new(0, 0);
    let field = Expr::Field(pos, vec!["Response".into()]);
    let commands = vec![CommandNode { pos, args: vec![field] }];
    Node::Action(ActionNode { pos, pipe: PipeNode { pos, decl: Vec::new(), commands, is_assign: false } })
}

/// The body without all that comes after the first `.Response` that is written.
///
/// As Ollama cuts: conditions are not looked into, and neither is `$.Response`.
pub(super) fn cut_at_response(body: &ListNode) -> ListNode {
    let mut body = body.clone();
    cut(&mut body);
    body
}

/// Cuts a list; true where its end was found in it.
fn cut(list: &mut ListNode) -> bool {
    for at in 0..list.nodes.len() {
        let ends = match &mut list.nodes[at] {
            Node::Action(action) => ends_pipe(&mut action.pipe),
            Node::If(branch) | Node::Range(branch) | Node::With(branch) => {
                // Only one of them is written, so each has an end of its own.
                let ends_here = cut(&mut branch.body);
                branch.else_body.as_mut().is_some_and(cut) || ends_here
            }
            Node::List(list) => cut(list),
            _ => false,
        };
        if ends {
            list.nodes.truncate(at + 1);
            return true;
        }
    }
    false
}

/// Whether a pipeline writes `.Response`; what comes after it is removed.
fn ends_pipe(pipe: &mut PipeNode) -> bool {
    for at in 0..pipe.commands.len() {
        let args = &mut pipe.commands[at].args;
        let ends = args.iter_mut().position(|argument| match argument {
            Expr::Field(_, fields) => fields.iter().any(|name| name == "Response"),
            Expr::Pipe(_, inner) => ends_pipe(inner),
            _ => false,
        });
        if let Some(found) = ends {
            args.truncate(found + 1);
            pipe.commands.truncate(at + 1);
            return true;
        }
    }
    false
}
