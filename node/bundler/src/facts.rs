//! What a module asks of others and gives to them, read off its tree.

use crate::resolve::Ask;
use oxc_ast::ast::*;
use oxc_ast_visit::{Visit, walk};
use oxc_span::{GetSpan, Span};
use oxc_syntax::scope::ScopeFlags;
use std::collections::BTreeSet;
use std::ops::Range;

/// One place that asks for another module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub specifier: String,
    pub ask: Ask,
    /// Where the specifier is in the source, in bytes, its quotes included.
    pub literal: Range<usize>,
    /// Attributes (`with { type: 'json' }`), which vats do without.
    pub attributes: Option<Range<usize>>,
    /// A failure to find it is the program's affair: it stands in a `try`.
    pub guarded: bool,
    /// Names that the other module must export.
    pub names: Vec<Named>,
}

/// A name that is imported or exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub name: String,
    /// What it is called here; empty where it only passes through.
    pub local: String,
    /// Where it stands, in bytes.
    pub at: usize,
}

/// What a module exports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Exports {
    pub names: BTreeSet<String>,
    /// Specifiers of modules all of whose exports are exported.
    pub stars: Vec<String>,
}

/// All that the bundler wants to know of a module.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub requests: Vec<Request>,
    pub exports: Exports,
    /// What `export { … }` of this module's own names lists.
    pub listed: Vec<Named>,
    /// Whether it has what only ES modules have: `import`, `export`, `import.meta`.
    pub is_module: bool,
    /// Whether it speaks of `require`, `module` or `exports` as CommonJS does.
    pub is_common: bool,
    /// What it exports as CommonJS, as Node.js reads it off the text.
    pub common_exports: Exports,
    /// A `require` of what is only known when it runs.
    pub dynamic_require: Option<usize>,
    pub hashbang: Option<Range<usize>>,
    /// What stands in it that the bundler answers, and the answer, which is no longer.
    pub answers: Vec<(Range<usize>, &'static str)>,
}

/// Reads a module's facts.
pub(crate) fn facts(program: &Program<'_>) -> Facts {
    let mut shadows = Shadows::default();
    shadows.visit_program(program);
    let mut reader = Reader { facts: Facts::default(), shadows: shadows.spans, tries: 0 };
    reader.facts.hashbang = program.hashbang.as_ref().map(|hashbang| range(hashbang.span));
    reader.visit_program(program);
    reader.facts
}

pub(crate) fn range(span: Span) -> Range<usize> {
    span.start as usize..span.end as usize
}

/// Functions that have a `require` of their own, as bundles of bundlers do.
#[derive(Default)]
struct Shadows {
    functions: Vec<Span>,
    spans: Vec<Span>,
}

impl<'a> Visit<'a> for Shadows {
    fn visit_function(&mut self, function: &Function<'a>, flags: ScopeFlags) {
        self.functions.push(function.span);
        walk::walk_function(self, function, flags);
        self.functions.pop();
    }

    fn visit_arrow_function_expression(&mut self, arrow: &ArrowFunctionExpression<'a>) {
        self.functions.push(arrow.span);
        walk::walk_arrow_function_expression(self, arrow);
        self.functions.pop();
    }

    fn visit_binding_identifier(&mut self, name: &BindingIdentifier<'a>) {
        if name.name == "require" {
            // At the top it is the whole module's.
            self.spans.push(self.functions.last().copied().unwrap_or(Span::new(0, u32::MAX)));
        }
    }
}

struct Reader {
    facts: Facts,
    shadows: Vec<Span>,
    tries: usize,
}

impl Reader {
    fn is_free_require(&self, expression: &Expression<'_>) -> bool {
        let Expression::Identifier(name) = expression else { return false };
        name.name == "require"
            && !self.shadows.iter().any(|span| span.start <= name.span.start && name.span.end <= span.end)
    }

    fn import(&mut self, source: &StringLiteral<'_>, attributes: Option<&WithClause<'_>>, names: Vec<Named>) {
        self.facts.is_module = true;
        self.facts.requests.push(Request {
            specifier: source.value.to_string(),
            ask: Ask::Import,
            literal: range(source.span),
            attributes: attributes.map(|clause| source.span.end as usize..clause.span.end as usize),
            guarded: false,
            names,
        });
    }

    fn export_names(&mut self, declaration: &Declaration<'_>) {
        match declaration {
            Declaration::VariableDeclaration(variables) => {
                let mut names = Bound(&mut self.facts.exports.names);
                variables.declarations.iter().for_each(|variable| names.visit_binding_pattern(&variable.id));
            }
            other => {
                let name = other.id().map(|id| id.name.to_string());
                self.facts.exports.names.extend(name);
            }
        }
    }

    /// Notes an assignment to `exports.x` or `module.exports`.
    fn assigned(&mut self, target: &AssignmentTarget<'_>, value: &Expression<'_>) {
        let AssignmentTarget::StaticMemberExpression(member) = target else {
            if let AssignmentTarget::ComputedMemberExpression(member) = target
                && is_exports(&member.object)
                && let Expression::StringLiteral(name) = &member.expression
            {
                self.facts.common_exports.names.insert(name.value.to_string());
            }
            return;
        };
        if is_exports(&member.object) {
            self.facts.common_exports.names.insert(member.property.name.to_string());
        } else if is_named(&member.object, "module") && member.property.name == "exports" {
            self.assigned_whole(value);
        }
    }

    /// Notes `module.exports = value`.
    fn assigned_whole(&mut self, value: &Expression<'_>) {
        match value {
            Expression::ObjectExpression(object) => {
                for property in &object.properties {
                    match property {
                        ObjectPropertyKind::ObjectProperty(property) => {
                            let name = property.key.static_name().map(|name| name.to_string());
                            self.facts.common_exports.names.extend(name);
                        }
                        ObjectPropertyKind::SpreadProperty(spread) => self.export_all_of(&spread.argument),
                    }
                }
            }
            Expression::AssignmentExpression(chained) => self.assigned_whole(&chained.right),
            other => self.export_all_of(other),
        }
    }

    /// Notes that all exports of `require("…")` are exported.
    fn export_all_of(&mut self, value: &Expression<'_>) {
        if let Expression::CallExpression(call) = value
            && self.is_free_require(&call.callee)
            && let Some(Argument::StringLiteral(specifier)) = call.arguments.first()
        {
            self.facts.common_exports.stars.push(specifier.value.to_string());
        }
    }

    fn called(&mut self, call: &CallExpression<'_>) {
        if self.is_free_require(&call.callee) {
            self.facts.is_common = true;
            match call.arguments.first() {
                Some(Argument::StringLiteral(specifier)) => self.facts.requests.push(Request {
                    specifier: specifier.value.to_string(),
                    ask: Ask::Require,
                    literal: range(specifier.span),
                    attributes: None,
                    guarded: self.tries > 0,
                    names: Vec::new(),
                }),
                _ if self.facts.dynamic_require.is_none() => {
                    self.facts.dynamic_require = Some(call.span.start as usize);
                }
                _ => {}
            }
            return;
        }
        let name = match &call.callee {
            Expression::StaticMemberExpression(member) => member.property.name.as_str(),
            Expression::Identifier(name) => name.name.as_str(),
            _ => return,
        };
        let argument = |index: usize| call.arguments.get(index).and_then(Argument::as_expression);
        match (name, argument(0), argument(1)) {
            ("defineProperty", Some(object), Some(Expression::StringLiteral(key))) if is_exports(object) => {
                self.facts.common_exports.names.insert(key.value.to_string());
            }
            ("__exportStar" | "__export" | "__reExport", Some(first), second) => {
                self.export_all_of(first);
                if let Some(second) = second {
                    self.export_all_of(second);
                }
            }
            _ => {}
        }
    }
}

/// Names that a pattern binds.
struct Bound<'n>(&'n mut BTreeSet<String>);

impl<'a> Visit<'a> for Bound<'_> {
    fn visit_binding_identifier(&mut self, name: &BindingIdentifier<'a>) {
        self.0.insert(name.name.to_string());
    }

    fn visit_expression(&mut self, _: &Expression<'a>) {}
}

fn is_named(expression: &Expression<'_>, name: &str) -> bool {
    matches!(expression, Expression::Identifier(found) if found.name == name)
}

/// Returns whether this is `process.env.NODE_ENV`.
fn is_mode(expression: &Expression<'_>) -> bool {
    let Expression::StaticMemberExpression(mode) = expression else { return false };
    let Expression::StaticMemberExpression(env) = &mode.object else { return false };
    mode.property.name == "NODE_ENV" && env.property.name == "env" && is_named(&env.object, "process")
}

/// Returns whether this is `Function("return this")()`, by which packages that are older than `globalThis` find it in sloppy mode.
fn is_global_object(expression: &Expression<'_>) -> bool {
    let Expression::CallExpression(call) = expression else { return false };
    let (callee, arguments) = match call.callee.without_parentheses() {
        Expression::CallExpression(made) => (&made.callee, &made.arguments),
        Expression::NewExpression(made) => (&made.callee, &made.arguments),
        _ => return false,
    };
    let [Argument::StringLiteral(body)] = arguments.as_slice() else { return false };
    call.arguments.is_empty() && is_named(callee, "Function") && body.value.trim_end_matches(';') == "return this"
}

/// Returns whether this is `exports` or `module.exports`.
fn is_exports(expression: &Expression<'_>) -> bool {
    match expression {
        Expression::StaticMemberExpression(member) => {
            member.property.name == "exports" && is_named(&member.object, "module")
        }
        other => is_named(other, "exports"),
    }
}

impl<'a> Visit<'a> for Reader {
    fn visit_import_declaration(&mut self, it: &ImportDeclaration<'a>) {
        let names = it.specifiers.iter().flatten().filter_map(|specifier| {
            let name = match specifier {
                ImportDeclarationSpecifier::ImportSpecifier(one) => one.imported.name().to_string(),
                ImportDeclarationSpecifier::ImportDefaultSpecifier(_) => "default".to_string(),
                ImportDeclarationSpecifier::ImportNamespaceSpecifier(_) => return None,
            };
            Some(Named { name, local: specifier.local().name.to_string(), at: specifier.span().start as usize })
        });
        self.import(&it.source, it.with_clause.as_deref(), names.collect());
    }

    fn visit_import_expression(&mut self, it: &ImportExpression<'a>) {
        let literal = match &it.source {
            Expression::StringLiteral(literal) => Some((literal.value.to_string(), literal.span)),
            Expression::TemplateLiteral(template) if template.expressions.is_empty() => {
                let cooked = template.quasis.first().and_then(|quasi| quasi.value.cooked.as_ref());
                cooked.map(|text| (text.to_string(), template.span))
            }
            _ => None,
        };
        if let Some((specifier, span)) = literal {
            // Of `import(a, options)`, the options go with the comma.
            let attributes = it.options.as_ref().map(|options| span.end as usize..options.span().end as usize);
            let names = Vec::new();
            let (ask, literal) = (Ask::Import, range(span));
            self.facts.requests.push(Request { specifier, ask, literal, attributes, guarded: false, names });
        }
        walk::walk_import_expression(self, it);
    }

    fn visit_export_all_declaration(&mut self, it: &ExportAllDeclaration<'a>) {
        match &it.exported {
            Some(name) => {
                self.facts.exports.names.insert(name.name().to_string());
            }
            None => self.facts.exports.stars.push(it.source.value.to_string()),
        }
        self.import(&it.source, it.with_clause.as_deref(), Vec::new());
    }

    fn visit_export_from_declaration(&mut self, it: &ExportFromDeclaration<'a>) {
        let mut names = Vec::new();
        for specifier in &it.specifiers {
            self.facts.exports.names.insert(specifier.exported.name().to_string());
            let (name, at) = (specifier.local.name().to_string(), specifier.span.start as usize);
            names.push(Named { name, local: String::new(), at });
        }
        self.import(&it.source, it.with_clause.as_deref(), names);
    }

    fn visit_export_named_declaration(&mut self, it: &ExportNamedDeclaration<'a>) {
        self.facts.is_module = true;
        for specifier in &it.specifiers {
            let (name, local) = (specifier.exported.name().to_string(), specifier.local.name().to_string());
            self.facts.exports.names.insert(name.clone());
            self.facts.listed.push(Named { name, local, at: specifier.span.start as usize });
        }
        walk::walk_export_named_declaration(self, it);
    }

    fn visit_export_declaration(&mut self, it: &ExportDeclaration<'a>) {
        self.facts.is_module = true;
        self.export_names(&it.declaration);
        walk::walk_export_declaration(self, it);
    }

    fn visit_export_default_declaration(&mut self, it: &ExportDefaultDeclaration<'a>) {
        self.facts.is_module = true;
        self.facts.exports.names.insert("default".to_string());
        walk::walk_export_default_declaration(self, it);
    }

    fn visit_import_meta(&mut self, _: &ImportMeta) {
        self.facts.is_module = true;
    }

    fn visit_try_statement(&mut self, it: &TryStatement<'a>) {
        self.tries += 1;
        self.visit_block_statement(&it.block);
        self.tries -= 1;
        if let Some(handler) = &it.handler {
            self.visit_catch_clause(handler);
        }
        if let Some(finalizer) = &it.finalizer {
            self.visit_block_statement(finalizer);
        }
    }

    fn visit_call_expression(&mut self, it: &CallExpression<'a>) {
        self.called(it);
        walk::walk_call_expression(self, it);
    }

    fn visit_assignment_expression(&mut self, it: &AssignmentExpression<'a>) {
        self.assigned(&it.left, &it.right);
        walk::walk_assignment_expression(self, it);
    }

    fn visit_expression(&mut self, it: &Expression<'a>) {
        if is_mode(it) {
            self.facts.answers.push((range(it.span()), "\"production\""));
        } else if is_global_object(it) {
            self.facts.answers.push((range(it.span()), "globalThis"));
        }
        walk::walk_expression(self, it);
    }

    fn visit_identifier_reference(&mut self, it: &IdentifierReference<'a>) {
        self.facts.is_common |= matches!(it.name.as_str(), "module" | "exports");
    }
}
