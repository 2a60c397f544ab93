//! The image's own stack limit: the same on every host, below what any host's native stack holds.
//!
//! Compiled frames differ in size between processors, so a native stack overflow would come at different points on different
//! hosts. Instead every function that calls others pays, when it is entered, what its frame costs by the wasm
//! specification's own measure (locals and operands), out of one mutable global, and gets it back when it returns. When the
//! global falls below zero the function traps by an access outside memory, just as it would at the end of the stack that the
//! compiler keeps in memory: the host takes both for the same limit. Functions that call nothing pay nothing: at most one of
//! them is on the stack.

use wasm_encoder::reencode::{self, Reencode};
use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, ExportKind, ExportSection, Function, GlobalSection, GlobalType, Instruction,
    MemArg, Module, ValType,
};
use wasmparser::{FunctionBody, Operator, Parser, Payload, TypeRef};

/// Name under which the global is exported; the host looks for it.
const GLOBAL: &str = "quorate_stack";
/// What all frames together may cost, in bytes of locals and operands.
const LIMIT: i32 = 1_000_000;
/// What each frame costs besides: the return address, saved registers, spills.
const FRAME: u64 = 32;

/// Adds the limit to a module.
pub fn limit_stack(wasm: &[u8]) -> Result<Vec<u8>, String> {
    let costs = frame_costs(wasm)?;
    let facts = facts(wasm)?;
    let mut limiter = Limiter { costs, results: facts.results, global: facts.globals, next: 0 };
    let mut module = Module::new();
    limiter.parse_core_module(&mut module, Parser::new(0), wasm).map_err(|error| error.to_string())?;
    Ok(module.finish())
}

/// Sizes of the frames, by finite-wasm's analysis of operands and locals.
fn frame_costs(wasm: &[u8]) -> Result<Vec<u64>, String> {
    struct Sizes;
    impl finite_wasm::max_stack::SizeConfig for Sizes {
        fn size_of_value(&self, value: finite_wasm::wasmparser::ValType) -> u8 {
            use finite_wasm::wasmparser::ValType;
            match value {
                ValType::I32 | ValType::F32 => 4,
                ValType::I64 | ValType::F64 => 8,
                ValType::V128 => 16,
                ValType::Ref(_) => 8,
            }
        }

        fn size_of_function_activation(
            &self,
            locals: &finite_wasm::prefix_sum_vec::PrefixSumVec<finite_wasm::wasmparser::ValType, u32>,
        ) -> u64 {
            let mut total = FRAME;
            let mut before = 0;
            for (last, value) in locals {
                let count = u64::from(last + 1 - before);
                before = last + 1;
                total += count * u64::from(self.size_of_value(*value));
            }
            total
        }
    }
    let analysis =
        finite_wasm::Analysis::new().with_stack(Sizes).analyze(wasm).map_err(|error| format!("{error:?}"))?;
    let pairs = analysis.function_frame_sizes.iter().zip(&analysis.function_operand_stack_sizes);
    Ok(pairs.map(|(frame, operands)| frame + operands).collect())
}

/// What the rewriting must know of the module beforehand.
struct Facts {
    /// Result types of each defined function.
    results: Vec<Vec<wasmparser::ValType>>,
    /// Number of globals, imported ones included: the index of the new one.
    globals: u32,
}

fn facts(wasm: &[u8]) -> Result<Facts, String> {
    let mut types = Vec::new();
    let mut results = Vec::new();
    let mut globals = 0;
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.map_err(|error| error.to_string())? {
            Payload::TypeSection(section) => {
                for function in section.into_iter_err_on_gc_types() {
                    types.push(function.map_err(|error| error.to_string())?.results().to_vec());
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    if matches!(import.map_err(|error| error.to_string())?.ty, TypeRef::Global(_)) {
                        globals += 1;
                    }
                }
            }
            Payload::FunctionSection(section) => {
                for function in section {
                    let index = function.map_err(|error| error.to_string())? as usize;
                    results.push(types.get(index).cloned().ok_or("a function of an unknown type")?);
                }
            }
            Payload::GlobalSection(section) => globals += section.count(),
            _ => {}
        }
    }
    Ok(Facts { results, globals })
}

struct Limiter {
    costs: Vec<u64>,
    results: Vec<Vec<wasmparser::ValType>>,
    global: u32,
    next: usize,
}

type Failure = reencode::Error<String>;

fn fail(message: impl Into<String>) -> Failure {
    reencode::Error::UserError(message.into())
}

impl Reencode for Limiter {
    type Error = String;

    fn parse_global_section(
        &mut self,
        globals: &mut GlobalSection,
        section: wasmparser::GlobalSectionReader<'_>,
    ) -> Result<(), Failure> {
        reencode::utils::parse_global_section(self, globals, section)?;
        let kind = GlobalType { val_type: ValType::I32, mutable: true, shared: false };
        globals.global(kind, &ConstExpr::i32_const(LIMIT));
        Ok(())
    }

    fn parse_export_section(
        &mut self,
        exports: &mut ExportSection,
        section: wasmparser::ExportSectionReader<'_>,
    ) -> Result<(), Failure> {
        reencode::utils::parse_export_section(self, exports, section)?;
        exports.export(GLOBAL, ExportKind::Global, self.global);
        Ok(())
    }

    fn parse_function_body(&mut self, code: &mut CodeSection, body: FunctionBody<'_>) -> Result<(), Failure> {
        let index = self.next;
        self.next += 1;
        if !calls(&body)? {
            return reencode::utils::parse_function_body(self, code, body);
        }
        let cost = self.costs.get(index).copied().ok_or_else(|| fail("a function that was not analysed"))?;
        let cost = i32::try_from(cost).map_err(|_| fail("a frame that is too large"))?;
        let result = match self.results.get(index).map(Vec::as_slice) {
            Some([]) => BlockType::Empty,
            Some([one]) => BlockType::Result(self.val_type(*one)?),
            _ => return Err(fail("a function with several results")),
        };
        let mut function = self.new_function_with_parsed_locals(&body)?;
        self.enter(&mut function, cost);
        function.instruction(&Instruction::Block(result));
        self.copy(&mut function, &body)?;
        function.instruction(&Instruction::GlobalGet(self.global));
        function.instruction(&Instruction::I32Const(cost));
        function.instruction(&Instruction::I32Add);
        function.instruction(&Instruction::GlobalSet(self.global));
        function.instruction(&Instruction::End);
        code.function(&function);
        Ok(())
    }
}

impl Limiter {
    fn enter(&self, function: &mut Function, cost: i32) {
        function.instruction(&Instruction::GlobalGet(self.global));
        function.instruction(&Instruction::I32Const(cost));
        function.instruction(&Instruction::I32Sub);
        function.instruction(&Instruction::GlobalSet(self.global));
        function.instruction(&Instruction::GlobalGet(self.global));
        function.instruction(&Instruction::I32Const(0));
        function.instruction(&Instruction::I32LtS);
        function.instruction(&Instruction::If(BlockType::Empty));
        function.instruction(&Instruction::I32Const(-1));
        function.instruction(&Instruction::I32Load8U(MemArg { offset: 0, align: 0, memory_index: 0 }));
        function.instruction(&Instruction::Drop);
        function.instruction(&Instruction::End);
    }

    /// The old body inside the new block, its own `end` closing it. A branch to the function's label reaches the block's
    /// by the same number; a return becomes such a branch, so that there is one way out.
    fn copy(&mut self, function: &mut Function, body: &FunctionBody<'_>) -> Result<(), Failure> {
        let mut depth = 0u32;
        for operator in body.get_operators_reader()? {
            let operator = operator?;
            match &operator {
                Operator::Return => {
                    function.instruction(&Instruction::Br(depth));
                    continue;
                }
                Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } | Operator::TryTable { .. } => {
                    depth += 1
                }
                Operator::End => depth = depth.saturating_sub(1),
                _ => {}
            }
            let instruction = self.instruction(operator)?;
            function.instruction(&instruction);
        }
        Ok(())
    }
}

/// Whether a function calls another. Tail calls are refused: they would leave without paying back.
fn calls(body: &FunctionBody<'_>) -> Result<bool, Failure> {
    let mut found = false;
    for operator in body.get_operators_reader()? {
        match operator? {
            Operator::Call { .. } | Operator::CallIndirect { .. } | Operator::CallRef { .. } => found = true,
            Operator::ReturnCall { .. } | Operator::ReturnCallIndirect { .. } | Operator::ReturnCallRef { .. } => {
                return Err(fail("a tail call"));
            }
            _ => {}
        }
    }
    Ok(found)
}
