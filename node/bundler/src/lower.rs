//! What of TypeScript is not only types, written in its own lines: enums, and parameters of constructors that are properties.

use crate::edits::{Edits, skip_trivia};
use crate::facts::range;
use crate::parse::Fault;
use oxc_ast::ast::*;
use oxc_ast_visit::Visit;
use oxc_span::{GetSpan, Span};
use std::collections::BTreeMap;

/// The enums of a module, so far.
#[derive(Default)]
pub(crate) struct Enums {
    /// By an enum's name, its members' names, and whether each is a string.
    members: BTreeMap<String, BTreeMap<String, bool>>,
}

impl Enums {
    /// Writes an enum as what it is when it runs: `enum A { X }` as `var A; (function (A) { A[A["X"] = 0] = "X"; })(A || (A = {}));`.
    /// `export` is the span of the export that it is in.
    pub fn lower(&mut self, source: &str, it: &TSEnumDeclaration<'_>, export: Option<Span>, edits: &mut Edits) {
        let name = it.id.name.as_str();
        let is_first = !self.members.contains_key(name);
        let members = self.members.entry(name.to_string()).or_default();
        let declared = match (is_first, export) {
            (true, Some(_)) => format!("export var {name};"),
            (true, None) => format!("var {name};"),
            (false, _) => String::new(),
        };
        let start = export.unwrap_or(it.span).start as usize;
        let open = skip_trivia(source, it.id.span.end as usize);
        edits.replace(start..open + 1, format!("{declared}(function ({name}) {{"));
        let mut before: Option<String> = None;
        for member in &it.body.members {
            let key = member.id.static_name().to_string();
            let quoted = quoted(&key);
            let is_string = member.initializer.as_ref().is_some_and(|value| is_string(value, members));
            let value = member.initializer.as_ref().map(GetSpan::span);
            let left = format!("{name}[{quoted}] = ");
            let (head, tail) =
                if is_string { (left, String::new()) } else { (format!("{name}[{left}"), format!("] = {quoted}")) };
            let end = value.unwrap_or(member.span).end as usize;
            match value {
                Some(value) => {
                    edits.replace(member.span.start as usize..value.start as usize, head);
                    edits.insert(end, format!("{tail};"));
                }
                None => {
                    let value = before.as_ref().map_or("0".to_string(), |before| format!("{name}[{before}] + 1"));
                    edits.replace(range(member.span), format!("{head}{value}{tail};"));
                }
            }
            let comma = skip_trivia(source, member.span.end as usize);
            if source[comma..].starts_with(',') {
                edits.blank(comma..comma + 1);
            }
            if let Some(value) = &member.initializer {
                Qualify { name, members, edits }.visit_expression(value);
            }
            members.insert(key, is_string);
            before = Some(quoted);
        }
        let close = it.body.span.end as usize;
        edits.replace(close - 1..close, format!("}})({name} || ({name} = {{}}));"));
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::String(text.to_string()).to_string()
}

/// Returns whether a member's value is a string, as far as its text tells: TypeScript demands that it does.
fn is_string(value: &Expression<'_>, members: &BTreeMap<String, bool>) -> bool {
    match value {
        Expression::StringLiteral(_) | Expression::TemplateLiteral(_) => true,
        Expression::ParenthesizedExpression(inner) => is_string(&inner.expression, members),
        Expression::BinaryExpression(sum) if sum.operator.as_str() == "+" => {
            is_string(&sum.left, members) || is_string(&sum.right, members)
        }
        Expression::Identifier(name) => members.get(name.name.as_str()).copied().unwrap_or(false),
        Expression::StaticMemberExpression(member) => {
            members.get(member.property.name.as_str()).copied().unwrap_or(false)
        }
        _ => false,
    }
}

/// Writes `Enum.` before names of members in a member's value.
struct Qualify<'q> {
    name: &'q str,
    members: &'q BTreeMap<String, bool>,
    edits: &'q mut Edits,
}

impl<'a> Visit<'a> for Qualify<'_> {
    fn visit_identifier_reference(&mut self, it: &IdentifierReference<'a>) {
        if self.members.contains_key(it.name.as_str()) {
            self.edits.insert(it.span.start as usize, format!("{}.", self.name));
        }
    }
}

/// Writes the assignments of `constructor(private x: T)`: at the beginning of the body, or after `super(…)`.
pub(crate) fn parameter_properties(source: &str, class: &Class<'_>, edits: &mut Edits, faults: &mut Vec<Fault>) {
    for element in &class.body.body {
        let ClassElement::MethodDefinition(method) = element else { continue };
        let (MethodDefinitionKind::Constructor, Some(body)) = (method.kind, &method.value.body) else { continue };
        let mut assignments = String::new();
        for parameter in &method.value.params.items {
            let is_property = parameter.accessibility.is_some() || parameter.readonly || parameter.r#override;
            if let (true, BindingPattern::BindingIdentifier(name)) = (is_property, &parameter.pattern) {
                assignments += &format!(" this.{0} = {0};", name.name);
            }
        }
        if assignments.is_empty() {
            continue;
        }
        if class.heritage.is_none() {
            let start = body.directives.last().map_or(body.span.start + 1, |last| last.span.end) as usize;
            edits.insert(start, assignments);
            continue;
        }
        match body.statements.iter().find(|statement| is_super_call(statement)) {
            Some(call) => {
                let end = call.span().end as usize;
                let first = if source[..end].ends_with(';') { "" } else { ";" };
                edits.insert(end, format!("{first}{assignments}"));
            }
            None => faults.push(Fault::new(
                method.span.start as usize,
                "parameters that are properties want `super(…)` as a statement of its own in the constructor",
                "call super(…) first",
            )),
        }
    }
}

fn is_super_call(statement: &Statement<'_>) -> bool {
    let Statement::ExpressionStatement(statement) = statement else { return false };
    matches!(&statement.expression, Expression::CallExpression(call) if matches!(call.callee, Expression::Super(_)))
}
