//! Makes JavaScript of TypeScript by erasing: what is a type becomes spaces, so that lines and columns stay where the author has them.
//!
//! What is not only a type is written in its own lines: enums, and parameters of constructors that are properties ([`super::lower`]).
//! Namespaces with values, `export =` and decorators are refused, with what to write instead.
//!
//! Spaces can join what stood apart: a statement or a member of a class that goes away leaves a semicolon, and so does a type before a
//! line that would go on with it; a parenthesis moves where an arrow or a `return` would be cut from what belongs to it.

use crate::edits::{Edits, ends_line, skip_trivia};
use crate::facts::range;
use crate::lower::{self, Enums};
use crate::parse::Fault;
use crate::uses::{Uses, is_type};
use oxc_ast::ast::*;
use oxc_ast_visit::{Visit, walk};
use oxc_span::{GetSpan, Span};
use oxc_syntax::scope::ScopeFlags;
use std::collections::BTreeSet;

/// Words before a class or its members that are of TypeScript alone.
const MODIFIERS: [&str; 7] = ["public", "private", "protected", "readonly", "abstract", "override", "declare"];

/// A module without its types.
#[derive(Debug)]
pub(crate) struct Erased {
    pub text: String,
    /// Names that are of types only.
    pub types: BTreeSet<String>,
}

/// Erases the types of a module. Errors: what cannot be erased.
pub(crate) fn erase(source: &str, program: &Program<'_>) -> Result<Erased, Vec<Fault>> {
    let mut uses = Uses::default();
    uses.visit_program(program);
    let types = uses.types.difference(&uses.values).cloned().collect();
    let mut eraser =
        Eraser { source, edits: Edits::default(), faults: Vec::new(), uses, types, enums: Enums::default() };
    eraser.visit_program(program);
    if !eraser.faults.is_empty() {
        return Err(eraser.faults);
    }
    Ok(Erased { text: eraser.edits.apply(source), types: eraser.types })
}

struct Eraser<'s> {
    source: &'s str,
    edits: Edits,
    faults: Vec<Fault>,
    uses: Uses,
    types: BTreeSet<String>,
    enums: Enums,
}

impl Eraser<'_> {
    fn blank(&mut self, span: Span) {
        self.edits.blank(range(span));
    }

    /// Erases a statement or a member of a class.
    fn blank_whole(&mut self, span: Span) {
        self.edits.blank_with(range(span), ';');
    }

    fn refuse(&mut self, span: Span, problem: &str, fix: &str) {
        self.faults.push(Fault::new(span.start as usize, problem, fix));
    }

    fn has_line_end(&self, start: u32, end: u32) -> bool {
        self.source[start as usize..end as usize].contains(ends_line)
    }

    /// Blanks `letter` where it is the next one from `at` on.
    fn blank_next(&mut self, at: u32, letter: char) {
        let at = skip_trivia(self.source, at as usize);
        if self.source[at..].starts_with(letter) {
            self.edits.blank(at..at + letter.len_utf8());
        }
    }

    /// Blanks the modifiers between two places. Those at the beginning of a member leave a semicolon: the member before may lack one.
    fn blank_modifiers(&mut self, start: u32, end: u32, is_member: bool) -> bool {
        let mut at = skip_trivia(self.source, start as usize);
        let begin = at;
        let mut found = false;
        while at < end as usize {
            let rest = &self.source[at..end as usize];
            let length = rest.find(|letter: char| !letter.is_alphanumeric()).unwrap_or(rest.len());
            if length == 0 {
                break;
            }
            if MODIFIERS.contains(&&rest[..length]) {
                let first = if is_member && at == begin { ';' } else { ' ' };
                self.edits.blank_with(at..at + length, first);
                found = true;
            }
            at = skip_trivia(self.source, at + length);
        }
        found
    }

    /// What stood between a value and a type that follows it goes away. The next line must not go on with the value.
    fn blank_after_value(&mut self, value: Span, end: u32) {
        let next = skip_trivia(self.source, end as usize);
        let goes_on = self.source[next..].starts_with(['(', '[', '`']);
        let start = skip_trivia(self.source, value.end as usize);
        let first = if goes_on && self.has_line_end(end, next as u32) { ';' } else { ' ' };
        self.edits.blank_with(start..end as usize, first);
    }

    /// Blanks type parameters before `(`. Ends of lines in them must not part what stands before from it.
    fn blank_type_parameters(&mut self, parameters: Span, list: Span) {
        if self.has_line_end(parameters.start, parameters.end) && self.source[list.start as usize..].starts_with('(') {
            self.edits.blank_with(range(parameters), '(');
            self.edits.blank(list.start as usize..list.start as usize + 1);
        } else {
            self.blank(parameters);
        }
    }

    fn this_parameter(&mut self, it: &TSThisParameter<'_>) {
        let next = skip_trivia(self.source, it.span.end as usize);
        let end = if self.source[next..].starts_with(',') { next + 1 } else { it.span.end as usize };
        self.edits.blank(it.span.start as usize..end);
    }

    /// Writes `{ a, b as c }` anew without what is of types; `None` where nothing goes.
    fn kept_imports(&self, it: &ImportDeclaration<'_>) -> Option<String> {
        let specifiers = it.specifiers.as_ref()?;
        let is_kept = |specifier: &&ImportDeclarationSpecifier<'_>| {
            let of_type =
                matches!(specifier, ImportDeclarationSpecifier::ImportSpecifier(one) if one.import_kind.is_type());
            !of_type && self.uses.used.contains(specifier.local().name.as_str())
        };
        let kept: Vec<_> = specifiers.iter().filter(is_kept).collect();
        if kept.len() == specifiers.len() {
            return None;
        }
        let (mut parts, mut braced) = (Vec::new(), Vec::new());
        for specifier in kept {
            let text = specifier.span().source_text(self.source);
            match specifier {
                ImportDeclarationSpecifier::ImportSpecifier(_) => braced.push(text),
                _ => parts.push(text.to_string()),
            }
        }
        if !braced.is_empty() {
            parts.push(format!("{{ {} }}", braced.join(", ")));
        }
        Some(parts.join(", "))
    }

    /// Erases what of `{ … }` of an export is of types.
    fn exported<'e>(&mut self, specifiers: impl Iterator<Item = &'e ExportSpecifier<'e>>, is_local: bool) {
        for specifier in specifiers {
            let of_type = is_local && self.types.contains(specifier.local.name().as_str());
            if specifier.export_kind.is_type() || of_type {
                let next = skip_trivia(self.source, specifier.span.end as usize);
                let end = if self.source[next..].starts_with(',') { next + 1 } else { specifier.span.end as usize };
                self.edits.blank(specifier.span.start as usize..end);
            }
        }
    }

    /// Erases what stands between a member's start and its value.
    fn member_head(&mut self, span: Span, decorators: &[Decorator<'_>], key: Span) {
        let start = decorators.last().map_or(span.start, |last| last.span.end);
        self.blank_modifiers(start, key.start, true);
    }

    fn key_end(&self, key: Span, computed: bool) -> u32 {
        let end = skip_trivia(self.source, key.end as usize);
        if computed && self.source[end..].starts_with(']') { end as u32 + 1 } else { key.end }
    }
}

impl<'a> Visit<'a> for Eraser<'_> {
    fn visit_declaration(&mut self, it: &Declaration<'a>) {
        if is_type(it) {
            self.blank_whole(it.span());
        } else {
            walk::walk_declaration(self, it);
        }
    }

    fn visit_export_declaration(&mut self, it: &ExportDeclaration<'a>) {
        match &it.declaration {
            declaration if is_type(declaration) => self.blank_whole(it.span),
            Declaration::TSEnumDeclaration(declaration) => {
                self.enums.lower(self.source, declaration, Some(it.span), &mut self.edits);
                walk::walk_ts_enum_declaration(self, declaration);
            }
            _ => walk::walk_export_declaration(self, it),
        }
    }

    fn visit_export_default_declaration(&mut self, it: &ExportDefaultDeclaration<'a>) {
        let is_type = match &it.declaration {
            ExportDefaultDeclarationKind::TSInterfaceDeclaration(_) => true,
            ExportDefaultDeclarationKind::FunctionDeclaration(function) => function.body.is_none(),
            ExportDefaultDeclarationKind::Identifier(name) => self.types.contains(name.name.as_str()),
            _ => false,
        };
        if is_type {
            self.blank_whole(it.span);
        } else {
            walk::walk_export_default_declaration(self, it);
        }
    }

    fn visit_import_declaration(&mut self, it: &ImportDeclaration<'a>) {
        if it.import_kind.is_type() {
            return self.blank_whole(it.span);
        }
        match self.kept_imports(it) {
            None => {}
            Some(kept) if kept.is_empty() => self.blank_whole(it.span),
            Some(kept) => {
                self.edits
                    .replace(it.span.start as usize..it.source.span.start as usize, format!("import {kept} from "));
            }
        }
    }

    fn visit_export_named_declaration(&mut self, it: &ExportNamedDeclaration<'a>) {
        if it.export_kind.is_type() {
            self.blank_whole(it.span);
        } else {
            self.exported(it.specifiers.iter(), true);
        }
    }

    fn visit_export_from_declaration(&mut self, it: &ExportFromDeclaration<'a>) {
        if it.export_kind.is_type() {
            self.blank_whole(it.span);
        } else {
            self.exported(it.specifiers.iter(), false);
        }
    }

    fn visit_export_all_declaration(&mut self, it: &ExportAllDeclaration<'a>) {
        if it.export_kind.is_type() {
            self.blank_whole(it.span);
        }
    }

    fn visit_ts_import_equals_declaration(&mut self, it: &TSImportEqualsDeclaration<'a>) {
        let name = it.id.name.as_str();
        match &it.module_reference {
            TSModuleReference::ExternalModuleReference(module) => {
                let literal = module.expression.span.source_text(self.source);
                self.edits.replace(range(it.span), format!("import {name} from {literal};"));
            }
            other if self.uses.used.contains(name) => {
                let value = other.span().source_text(self.source);
                self.edits.replace(range(it.span), format!("const {name} = {value};"));
            }
            _ => self.blank_whole(it.span),
        }
    }

    fn visit_ts_export_assignment(&mut self, it: &TSExportAssignment<'a>) {
        self.refuse(it.span, "`export =` is of CommonJS", "write `export default`");
    }

    fn visit_ts_namespace_export_declaration(&mut self, it: &TSNamespaceExportDeclaration<'a>) {
        self.blank_whole(it.span);
    }

    fn visit_ts_namespace_declaration(&mut self, it: &TSNamespaceDeclaration<'a>) {
        self.refuse(it.span, "a namespace that holds values is not taken", "make it a module of its own, or an object");
    }

    fn visit_decorator(&mut self, it: &Decorator<'a>) {
        self.refuse(it.span, "decorators are no part of JavaScript yet", "call the function yourself");
    }

    fn visit_ts_enum_declaration(&mut self, it: &TSEnumDeclaration<'a>) {
        self.enums.lower(self.source, it, None, &mut self.edits);
        walk::walk_ts_enum_declaration(self, it);
    }

    fn visit_ts_type_annotation(&mut self, it: &TSTypeAnnotation<'a>) {
        self.blank(it.span);
    }

    fn visit_ts_type(&mut self, _: &TSType<'a>) {}

    fn visit_ts_type_parameter_declaration(&mut self, it: &TSTypeParameterDeclaration<'a>) {
        self.blank(it.span);
    }

    fn visit_ts_type_parameter_instantiation(&mut self, it: &TSTypeParameterInstantiation<'a>) {
        self.blank(it.span);
    }

    fn visit_ts_this_parameter(&mut self, it: &TSThisParameter<'a>) {
        self.this_parameter(it);
    }

    fn visit_ts_as_expression(&mut self, it: &TSAsExpression<'a>) {
        self.visit_expression(&it.expression);
        self.blank_after_value(it.expression.span(), it.span.end);
    }

    fn visit_ts_satisfies_expression(&mut self, it: &TSSatisfiesExpression<'a>) {
        self.visit_expression(&it.expression);
        self.blank_after_value(it.expression.span(), it.span.end);
    }

    fn visit_ts_instantiation_expression(&mut self, it: &TSInstantiationExpression<'a>) {
        self.visit_expression(&it.expression);
        self.blank_after_value(it.expression.span(), it.span.end);
    }

    fn visit_ts_non_null_expression(&mut self, it: &TSNonNullExpression<'a>) {
        self.visit_expression(&it.expression);
        self.blank_next(it.expression.span().end, '!');
    }

    fn visit_ts_type_assertion(&mut self, it: &TSTypeAssertion<'a>) {
        let start = it.expression.span().start;
        if self.has_line_end(it.span.start, start) {
            self.edits.blank_with(it.span.start as usize..start as usize, '(');
            self.visit_expression(&it.expression);
            self.edits.insert(it.span.end as usize, ")");
        } else {
            self.edits.blank(it.span.start as usize..start as usize);
            self.visit_expression(&it.expression);
        }
    }

    fn visit_variable_declarator(&mut self, it: &VariableDeclarator<'a>) {
        if it.definite {
            self.blank_next(it.id.span().end, '!');
        }
        walk::walk_variable_declarator(self, it);
    }

    fn visit_formal_parameter(&mut self, it: &FormalParameter<'a>) {
        if it.accessibility.is_some() || it.readonly || it.r#override {
            self.blank_modifiers(it.span.start, it.pattern.span().start, false);
        }
        if it.optional {
            self.blank_next(it.pattern.span().end, '?');
        }
        walk::walk_formal_parameter(self, it);
    }

    fn visit_function(&mut self, it: &Function<'a>, flags: ScopeFlags) {
        if let Some(parameters) = &it.type_parameters {
            self.blank_type_parameters(parameters.span, it.params.span);
        }
        if let Some(this) = &it.this_param {
            self.this_parameter(this);
        }
        self.visit_formal_parameters(&it.params);
        if let Some(result) = &it.return_type {
            self.visit_ts_type_annotation(result);
        }
        if let Some(body) = &it.body {
            self.visit_function_body(body);
        }
        let _ = flags;
    }

    fn visit_arrow_function_expression(&mut self, it: &ArrowFunctionExpression<'a>) {
        if let Some(parameters) = &it.type_parameters {
            self.blank_type_parameters(parameters.span, it.params.span);
        }
        self.visit_formal_parameters(&it.params);
        if let Some(result) = &it.return_type {
            let end = result.span.end as usize;
            if self.has_line_end(result.span.start, result.span.end) {
                // Before `=>` no line may end: the parenthesis goes there.
                let close = it.params.span.end as usize - 1;
                self.edits.blank(close..close + 1);
                let last = self.source[..end].char_indices().next_back().map_or(end, |(at, _)| at);
                self.edits.blank(result.span.start as usize..last);
                self.edits.replace(last..end, ")");
            } else {
                self.blank(result.span);
            }
        }
        self.visit_arrow_function_body(&it.body);
    }

    fn visit_class(&mut self, it: &Class<'a>) {
        if it.r#abstract {
            self.blank_modifiers(it.span.start, it.body.span.start, false);
        }
        if let (Some(first), Some(last)) = (it.implements.first(), it.implements.last()) {
            let before = self.source[..first.span.start as usize].rfind("implements").unwrap_or_default();
            self.edits.blank(before..last.span.end as usize);
        }
        lower::parameter_properties(self.source, it, &mut self.edits, &mut self.faults);
        walk::walk_class(self, it);
    }

    fn visit_ts_class_implements(&mut self, _: &TSClassImplements<'a>) {}

    fn visit_ts_index_signature(&mut self, it: &TSIndexSignature<'a>) {
        self.blank_whole(it.span);
    }

    fn visit_method_definition(&mut self, it: &MethodDefinition<'a>) {
        if it.value.body.is_none() {
            return self.blank_whole(it.span);
        }
        self.member_head(it.span, &it.decorators, it.key.span());
        if it.optional {
            self.blank_next(self.key_end(it.key.span(), it.computed), '?');
        }
        walk::walk_method_definition(self, it);
    }

    fn visit_property_definition(&mut self, it: &PropertyDefinition<'a>) {
        if it.declare || matches!(it.r#type, PropertyDefinitionType::TSAbstractPropertyDefinition) {
            return self.blank_whole(it.span);
        }
        self.member_head(it.span, &it.decorators, it.key.span());
        let end = self.key_end(it.key.span(), it.computed);
        if it.optional {
            self.blank_next(end, '?');
        }
        if it.definite {
            self.blank_next(end, '!');
        }
        if let (Some(annotation), None) = (&it.type_annotation, &it.value) {
            // `get: T` before a method would become its `get`.
            self.edits.blank_with(range(annotation.span), ';');
            self.visit_property_key(&it.key);
            it.decorators.iter().for_each(|decorator| self.visit_decorator(decorator));
        } else {
            walk::walk_property_definition(self, it);
        }
    }

    fn visit_accessor_property(&mut self, it: &AccessorProperty<'a>) {
        self.refuse(it.span, "`accessor` is no part of JavaScript yet", "write a getter and a setter");
    }
}
