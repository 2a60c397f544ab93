//! Compares the image's own stack limit with the native stack that compiled code really takes.
//!
//! The limiter (`build/limiter.rs`) charges each function that calls others for its locals and operands by the wasm
//! specification's measure. Compiled frames may differ. If some frame were much larger than its charge, a
//! deep guest would hit wasmtime's limit first, which is a fault of the host and stops the replica. So the worst ratio of
//! native bytes to charge over all functions of the real image, times the limit, must be well below the available stack. Frames are
//! read from the machine code, for x86-64 only.

use super::{Cache, IMAGE_WASM, config, image_hash, load_module};
use crate::sandbox::{MAX_WASM_STACK_BYTES, STACK_GLOBAL};
use std::path::Path;
use wasmparser::{ConstExpr, ExternalKind, FunctionBody, Operator, Parser, Payload};
use wasmtime::Engine;

/// Return address and saved frame pointer.
const FRAME_HEAD_BYTES: u64 = 16;
/// How far into a function its prologue reaches at most, with the check of the stack and the touching of its pages.
const PROLOGUE_BYTES: usize = 192;
/// Entering the guest, and leaving it for a function of the host.
const BORDER_BYTES: u64 = 64 << 10;

/// What the limiter made of the image.
struct Charges {
    limit: u64,
    /// What each function pays, in order; nothing if it calls none.
    costs: Vec<Option<u64>>,
}

fn charges(wasm: &[u8]) -> Charges {
    let (mut initial, mut global, mut bodies) = (Vec::new(), None, Vec::new());
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.expect("the image is well formed") {
            Payload::GlobalSection(section) => {
                initial = section.into_iter().map(|global| constant(&global.expect("global").init_expr)).collect();
            }
            Payload::ExportSection(section) => {
                let mut exports = section.into_iter().map(|export| export.expect("export"));
                let found = exports.find(|export| export.name == STACK_GLOBAL && export.kind == ExternalKind::Global);
                global = found.map(|export| export.index);
            }
            Payload::CodeSectionEntry(body) => bodies.push(body),
            _ => {}
        }
    }
    let global = global.expect("the image limits its own stack");
    let limit = initial[global as usize].expect("the limit is a constant");
    Charges { limit, costs: bodies.iter().map(|body| charge(body, global)).collect() }
}

fn constant(expression: &ConstExpr<'_>) -> Option<u64> {
    match expression.get_operators_reader().read() {
        Ok(Operator::I32Const { value }) => u64::try_from(value).ok(),
        _ => None,
    }
}

fn charge(body: &FunctionBody<'_>, global: u32) -> Option<u64> {
    let operators = body.get_operators_reader().expect("a body").into_iter();
    let first: Vec<Operator<'_>> = operators.take(4).map(|operator| operator.expect("an operator")).collect();
    match first[..] {
        [
            Operator::GlobalGet { global_index: from },
            Operator::I32Const { value },
            Operator::I32Sub,
            Operator::GlobalSet { global_index: to },
        ] if from == global && to == global => u64::try_from(value).ok(),
        _ => None,
    }
}

/// Bytes of native stack that a function takes: the largest `sub rsp, …` of its prologue.
fn frame_bytes(code: &[u8]) -> u64 {
    assert!(code.starts_with(&[0x55, 0x48, 0x89, 0xe5]), "a function begins with push rbp; mov rbp, rsp");
    let prologue = &code[..code.len().min(PROLOGUE_BYTES)];
    let steps = (0..prologue.len()).filter_map(|at| match prologue[at..] {
        [0x48, 0x83, 0xec, bytes, ..] => Some(u64::from(bytes)),
        [0x48, 0x81, 0xec, a, b, c, d, ..] => Some(u64::from(u32::from_le_bytes([a, b, c, d]))),
        _ => None,
    });
    let largest = steps.max();
    let gives_back = code.windows(3).any(|bytes| matches!(bytes, [0x48, 0x83 | 0x81, 0xc4]));
    assert!(largest.is_some() || !gives_back, "a function gives back stack that was not found to be taken");
    FRAME_HEAD_BYTES + largest.unwrap_or(0)
}

/// The most native stack that a guest can take, in bytes, if its limit were `times` what it is.
fn deepest(charges: &Charges, frames: &[u64], times: u64) -> u64 {
    assert_eq!(charges.costs.len(), frames.len());
    let pairs = || charges.costs.iter().zip(frames);
    let (cost, frame) = pairs()
        .filter_map(|(cost, frame)| Some(((*cost)?, *frame)))
        .max_by(|(cost, frame), (other_cost, other_frame)| (frame * other_cost).cmp(&(other_frame * cost)))
        .expect("some function calls another");
    let leaf = pairs().filter(|(cost, _)| cost.is_none()).map(|(_, frame)| *frame).max().unwrap_or(0);
    println!("worst frame: {frame} bytes for {cost}; largest leaf: {leaf} bytes; limit: {}", charges.limit);
    charges.limit * times * frame / cost + leaf + BORDER_BYTES
}

#[test]
fn the_images_own_limit_is_far_within_the_native_stack() {
    let engine = Engine::new(&config()).expect("an engine");
    let folder = Path::new(env!("OUT_DIR")).join("native-stack");
    let cache = Cache::open(&folder).expect("a folder");
    let module = load_module(&engine, &cache, image_hash(), IMAGE_WASM).expect("the image compiles");
    let text = module.text();
    let frames: Vec<u64> =
        module.functions().map(|function| frame_bytes(&text[function.offset..][..function.len])).collect();
    let charges = charges(IMAGE_WASM);
    assert!(charges.costs.iter().flatten().count() > 1_000 && frames.iter().any(|frame| *frame > 1_000));
    let (most, there) = (deepest(&charges, &frames, 1), MAX_WASM_STACK_BYTES as u64 / 2);
    assert!(most < there, "guests may take {most} bytes of native stack; at most {there} are safe");
    // The check is worth something only if a limit that is too high fails it.
    assert!(deepest(&charges, &frames, 10) > there);
}
