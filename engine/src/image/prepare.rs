//! Prepares an image for instances that begin as a copy of a base heap.
//!
//! A module's active data segments are written anew into each instance, which would spoil the sharing of the base heap. So
//! this module removes them from the compiled code, and writes them once, when it makes the base heap. It changes nothing else.
//!
//! It also checks the basis of saving and restoring a heap: all state of an instance is its one memory and its
//! exported globals. The only other state that may change is one `i32` global, the linker's stack pointer, which has its
//! initial value whenever no call is under way. Tables are never saved, so a guest that writes to a table is refused. So is a guest with an
//! instruction that has no price.

use crate::error::EngineError;
use crate::sandbox::has_price;
use std::collections::BTreeSet;
use wasmparser::{ConstExpr, DataKind, ExternalKind, Operator, Parser, Payload, TypeRef, ValType};

/// A module without data, and its data.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub wasm: Vec<u8>,
    /// Where in memory, and what.
    pub data: Vec<(usize, Vec<u8>)>,
}

/// Data segments and the count that announces them.
const DROPPED_SECTIONS: [u8; 2] = [11, 12];
const HEADER_BYTES: usize = 8;

pub(crate) fn prepare(wasm: &[u8]) -> Result<Prepared, EngineError> {
    let parse_error = |error: wasmparser::BinaryReaderError| EngineError::Image(error.to_string());
    let refuse = |why: &str| Err(EngineError::Image(why.to_owned()));
    let mut survey = Survey::default();
    let header = wasm.get(..HEADER_BYTES).ok_or_else(|| EngineError::Image("shorter than a wasm header".into()))?;
    let mut prepared = Prepared { wasm: header.to_vec(), data: Vec::new() };
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.map_err(parse_error)?;
        survey.look_at(&payload).map_err(parse_error)?;
        match &payload {
            Payload::StartSection { .. } => return refuse("it has a start function"),
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => return refuse("it is a component"),
            Payload::DataSection(segments) => {
                for segment in segments.clone() {
                    let segment = segment.map_err(parse_error)?;
                    match segment.kind {
                        DataKind::Active { memory_index: 0, offset_expr } => {
                            let Some(offset) = constant(&offset_expr) else {
                                return refuse("a data segment's place is not a constant");
                            };
                            prepared.data.push((offset as usize, segment.data.to_vec()));
                        }
                        _ => return refuse("it has a data segment that is not active in its one memory"),
                    }
                }
            }
            _ => {}
        }
        if let Some((id, range)) = payload.as_section()
            && !DROPPED_SECTIONS.contains(&id)
            && id != 0
        {
            prepared.wasm.push(id);
            write_length(&mut prepared.wasm, range.len());
            prepared.wasm.extend_from_slice(&wasm[range]);
        }
    }
    survey.verdict()?;
    Ok(prepared)
}

/// What there is in the module that could hold state.
#[derive(Default)]
struct Survey {
    memories: usize,
    imported_globals: u32,
    mutable_globals: Vec<(u32, ValType)>,
    exported_globals: BTreeSet<u32>,
    imports_state: bool,
    writes_tables: bool,
    /// The first instruction that has no price.
    unpriced: Option<String>,
}

impl Survey {
    fn look_at(&mut self, payload: &Payload<'_>) -> Result<(), wasmparser::BinaryReaderError> {
        match payload {
            Payload::ImportSection(imports) => {
                for import in imports.clone().into_imports() {
                    self.imports_state |= !matches!(import?.ty, TypeRef::Func(_));
                }
            }
            Payload::MemorySection(memories) => self.memories += memories.count() as usize,
            Payload::GlobalSection(globals) => {
                for (index, global) in globals.clone().into_iter().enumerate() {
                    let ty = global?.ty;
                    if ty.mutable {
                        self.mutable_globals.push((self.imported_globals + index as u32, ty.content_type));
                    }
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports.clone() {
                    let export = export?;
                    if export.kind == ExternalKind::Global {
                        self.exported_globals.insert(export.index);
                    }
                }
            }
            Payload::CodeSectionEntry(body) => {
                for operator in body.get_operators_reader()? {
                    let operator = operator?;
                    if self.unpriced.is_none() && !has_price(&operator) {
                        self.unpriced = Some(format!("{operator:?}"));
                    }
                    self.writes_tables |= matches!(
                        operator,
                        Operator::TableSet { .. }
                            | Operator::TableGrow { .. }
                            | Operator::TableFill { .. }
                            | Operator::TableCopy { .. }
                            | Operator::TableInit { .. }
                    );
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn verdict(&self) -> Result<(), EngineError> {
        let hidden: Vec<_> =
            self.mutable_globals.iter().filter(|(index, _)| !self.exported_globals.contains(index)).collect();
        let unpriced =
            self.unpriced.as_ref().map(|operator| format!("it has an instruction without a price: {operator}"));
        let why = if self.memories != 1 {
            "it must define exactly one memory"
        } else if self.imports_state {
            "it imports something else than functions"
        } else if self.writes_tables {
            "it writes to a table"
        } else if hidden.len() > 1 || hidden.iter().any(|(_, ty)| *ty != ValType::I32) {
            "it has mutable globals that are not exported"
        } else if let Some(unpriced) = &unpriced {
            unpriced
        } else {
            return Ok(());
        };
        Err(EngineError::Image(why.to_owned()))
    }
}

fn constant(expression: &ConstExpr<'_>) -> Option<u32> {
    let mut operators = expression.get_operators_reader();
    let Ok(Operator::I32Const { value }) = operators.read() else { return None };
    matches!(operators.read(), Ok(Operator::End)).then_some(value as u32)
}

fn write_length(out: &mut Vec<u8>, length: usize) {
    let mut rest = length;
    loop {
        let low = (rest & 0x7f) as u8;
        rest >>= 7;
        if rest == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}
