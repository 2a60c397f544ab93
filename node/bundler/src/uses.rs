//! Which names of a TypeScript module are of types, and which of values.

use oxc_ast::ast::*;
use oxc_ast_visit::{Visit, walk};
use std::collections::BTreeSet;

/// Names in a module, wherever: what is used as a value, what is bound to a value, and what is declared as a type.
#[derive(Default)]
pub(crate) struct Uses {
    pub used: BTreeSet<String>,
    pub values: BTreeSet<String>,
    pub types: BTreeSet<String>,
}

impl<'a> Visit<'a> for Uses {
    fn visit_identifier_reference(&mut self, it: &IdentifierReference<'a>) {
        self.used.insert(it.name.to_string());
    }

    fn visit_binding_identifier(&mut self, it: &BindingIdentifier<'a>) {
        self.values.insert(it.name.to_string());
    }

    fn visit_declaration(&mut self, it: &Declaration<'a>) {
        if let Declaration::TSTypeAliasDeclaration(_) | Declaration::TSInterfaceDeclaration(_) = it {
            self.types.extend(it.id().map(|id| id.name.to_string()));
        } else if !is_type(it) {
            walk::walk_declaration(self, it);
        }
    }

    fn visit_import_declaration(&mut self, it: &ImportDeclaration<'a>) {
        for specifier in it.specifiers.iter().flatten() {
            match specifier {
                ImportDeclarationSpecifier::ImportSpecifier(one)
                    if it.import_kind.is_type() || one.import_kind.is_type() =>
                {
                    self.types.insert(one.local.name.to_string());
                }
                other if it.import_kind.is_type() => {
                    self.types.insert(other.local().name.to_string());
                }
                other => {
                    self.values.insert(other.local().name.to_string());
                }
            }
        }
    }

    fn visit_export_named_declaration(&mut self, it: &ExportNamedDeclaration<'a>) {
        if it.export_kind.is_value() {
            walk::walk_export_named_declaration(self, it);
        }
    }

    fn visit_export_specifier(&mut self, it: &ExportSpecifier<'a>) {
        if it.export_kind.is_value() {
            walk::walk_export_specifier(self, it);
        }
    }

    fn visit_ts_type(&mut self, _: &TSType<'a>) {}

    fn visit_ts_type_annotation(&mut self, _: &TSTypeAnnotation<'a>) {}

    fn visit_ts_type_parameter_declaration(&mut self, _: &TSTypeParameterDeclaration<'a>) {}

    fn visit_ts_type_parameter_instantiation(&mut self, _: &TSTypeParameterInstantiation<'a>) {}

    fn visit_ts_class_implements(&mut self, _: &TSClassImplements<'a>) {}

    fn visit_ts_interface_declaration(&mut self, it: &TSInterfaceDeclaration<'a>) {
        self.types.insert(it.id.name.to_string());
    }
}

/// Returns whether a declaration is gone when it runs.
pub(crate) fn is_type(declaration: &Declaration<'_>) -> bool {
    match declaration {
        Declaration::TSTypeAliasDeclaration(_)
        | Declaration::TSInterfaceDeclaration(_)
        | Declaration::TSExternalModuleDeclaration(_)
        | Declaration::TSGlobalDeclaration(_) => true,
        Declaration::VariableDeclaration(it) => it.declare,
        Declaration::FunctionDeclaration(it) => it.declare || it.body.is_none(),
        Declaration::ClassDeclaration(it) => it.declare,
        Declaration::TSEnumDeclaration(it) => it.declare,
        Declaration::TSNamespaceDeclaration(it) => it.declare || is_type_namespace(it),
        Declaration::TSImportEqualsDeclaration(it) => it.import_kind.is_type(),
    }
}

fn is_type_namespace(namespace: &TSNamespaceDeclaration<'_>) -> bool {
    match &namespace.body {
        TSNamespaceDeclarationBody::TSNamespaceDeclaration(inner) => is_type_namespace(inner),
        TSNamespaceDeclarationBody::TSModuleBlock(block) => block.body.iter().all(|statement| match statement {
            Statement::ExportDeclaration(export) => is_type(&export.declaration),
            other => other.as_declaration().is_some_and(is_type),
        }),
    }
}
