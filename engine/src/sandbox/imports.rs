//! The image's imports: a console, and deterministic stand-ins for WASI.
//!
//! Invariants: nothing here depends on the clock, the machine, or anything that could differ on another replica. The
//! stand-ins have no state. A pointer outside of the guest's memory is a WASI error, never a panic.

use super::logs::{LogBuffer, LogLevel};
use crate::error::EngineError;
use wasmtime::{Caller, Engine, Extern, FuncType, Linker, Memory, Module, ResourceLimiter, Val, ValType};

const WASI_MODULE: &str = "wasi_snapshot_preview1";
const ERRNO_SUCCESS: i32 = 0;
const ERRNO_BADF: i32 = 8;
const ERRNO_FAULT: i32 = 21;
const ERRNO_NOSYS: i32 = 52;
/// Pieces of one `fd_write` that are looked at; a guest that has more writes the rest in its next call.
const MAX_IO_PIECES: u32 = 64;

/// The guest ended its own process: a panic of its runtime or `process::exit`.
#[derive(Debug, thiserror::Error)]
#[error("the guest exited with code {0}")]
pub(crate) struct GuestExit(pub i32);

/// What a store holds beside the instance.
#[derive(Debug)]
pub(crate) struct HostState {
    /// Bytes beyond which the memory does not grow.
    pub memory_limit: usize,
    /// More memory was refused since this was last reset.
    pub memory_refused: bool,
    /// The vat's part in [`random_get`].
    pub seed: u64,
    pub logs: LogBuffer,
}

impl ResourceLimiter for HostState {
    fn memory_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let admitted = desired <= self.memory_limit;
        self.memory_refused |= !admitted;
        Ok(admitted)
    }

    /// Growth that was admitted failed. If the system refused it that is a fault of the host, which the guest must not see;
    /// beyond what the memory's type allows it is an ordinary refusal.
    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        if error.is::<EngineError>() {
            return Err(error);
        }
        self.memory_refused = true;
        Ok(())
    }

    /// Asked for the size that tables begin with; images that let them grow are refused when they are loaded.
    fn table_growing(&mut self, _current: usize, _desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(true)
    }
}

/// Defines every import of `module`, or says which one is unknown.
pub(crate) fn link(engine: &Engine, module: &Module) -> Result<Linker<HostState>, EngineError> {
    let mut linker = Linker::new(engine);
    let fault = |error: wasmtime::Error| EngineError::Image(format!("{error:#}"));
    for import in module.imports() {
        let (space, name) = (import.module(), import.name());
        let ty = import.ty();
        let Some(signature) = ty.func() else {
            return Err(EngineError::Image(format!("import {space}.{name} is not a function")));
        };
        match space {
            "quorate" if name == "log" => linker.func_wrap(space, name, log).map_err(fault)?,
            WASI_MODULE => link_wasi(&mut linker, name, signature).map_err(fault)?,
            _ => return Err(EngineError::Image(format!("unknown import {space}.{name}"))),
        };
    }
    Ok(linker)
}

fn link_wasi<'a>(
    linker: &'a mut Linker<HostState>,
    name: &str,
    signature: &FuncType,
) -> wasmtime::Result<&'a mut Linker<HostState>> {
    match name {
        "fd_write" => linker.func_wrap(WASI_MODULE, name, fd_write),
        "random_get" => linker.func_wrap(WASI_MODULE, name, random_get),
        "clock_time_get" => {
            linker.func_wrap(WASI_MODULE, name, |caller: Caller<'_, HostState>, _: i32, _: i64, at: i32| {
                write(caller, at, &0u64.to_le_bytes())
            })
        }
        "clock_res_get" => linker.func_wrap(WASI_MODULE, name, |caller: Caller<'_, HostState>, _: i32, at: i32| {
            write(caller, at, &1u64.to_le_bytes())
        }),
        "environ_sizes_get" | "args_sizes_get" => linker.func_wrap(WASI_MODULE, name, sizes_get),
        "environ_get" | "args_get" => linker.func_wrap(WASI_MODULE, name, |_: i32, _: i32| ERRNO_SUCCESS),
        "sched_yield" => linker.func_wrap(WASI_MODULE, name, || ERRNO_SUCCESS),
        "proc_exit" => linker.func_wrap(WASI_MODULE, name, |code: i32| -> wasmtime::Result<()> {
            Err(wasmtime::Error::new(GuestExit(code)))
        }),
        _ => {
            let errno = if name.starts_with("fd_") || name.starts_with("path_") { ERRNO_BADF } else { ERRNO_NOSYS };
            let answers: Vec<ValType> = signature.results().collect();
            linker.func_new(WASI_MODULE, name, signature.clone(), move |_, _, results| {
                if answers.len() == 1 && matches!(answers[0], ValType::I32) {
                    results[0] = Val::I32(errno);
                    return Ok(());
                }
                Err(wasmtime::Error::new(GuestExit(errno)))
            })
        }
    }
}

fn memory_of(caller: &mut Caller<'_, HostState>) -> Option<Memory> {
    caller.get_export("memory").and_then(Extern::into_memory)
}

fn write(mut caller: Caller<'_, HostState>, at: i32, bytes: &[u8]) -> i32 {
    let Some(memory) = memory_of(&mut caller) else { return ERRNO_FAULT };
    match memory.write(&mut caller, at as u32 as usize, bytes) {
        Ok(()) => ERRNO_SUCCESS,
        Err(_) => ERRNO_FAULT,
    }
}

fn sizes_get(mut caller: Caller<'_, HostState>, count_at: i32, bytes_at: i32) -> i32 {
    let Some(memory) = memory_of(&mut caller) else { return ERRNO_FAULT };
    let zero = 0u32.to_le_bytes();
    let written = memory
        .write(&mut caller, count_at as u32 as usize, &zero)
        .and_then(|()| memory.write(&mut caller, bytes_at as u32 as usize, &zero));
    if written.is_ok() { ERRNO_SUCCESS } else { ERRNO_FAULT }
}

/// Not random at all: the same bytes each time, so that hash tables of the guest's runtime are seeded alike on all replicas. They differ
/// between vats, but not before a vat's own heap is there.
fn random_get(mut caller: Caller<'_, HostState>, at: i32, length: i32) -> i32 {
    let Some(memory) = memory_of(&mut caller) else { return ERRNO_FAULT };
    let seed = caller.data().seed.to_le_bytes();
    let (at, length) = (at as u32 as usize, length as u32 as usize);
    match memory.data_mut(&mut caller).get_mut(at..).and_then(|rest| rest.get_mut(..length)) {
        Some(target) => {
            let constant = |index: usize| (index as u8).wrapping_mul(167) ^ 0x5a;
            target.iter_mut().enumerate().for_each(|(index, byte)| *byte = constant(index) ^ seed[index % seed.len()]);
            ERRNO_SUCCESS
        }
        None => ERRNO_FAULT,
    }
}

fn log(mut caller: Caller<'_, HostState>, level: i32, at: i32, length: i32) {
    let Some(memory) = memory_of(&mut caller) else { return };
    let (at, length) = (at as u32 as usize, length as u32 as usize);
    let (data, state) = memory.data_and_store_mut(&mut caller);
    if let Some(text) = data.get(at..).and_then(|rest| rest.get(..length)) {
        let kept = length.min(state.logs.room());
        state.logs.push(LogLevel::from_abi(level), &text[..kept], length);
    }
}

/// How the guest's runtime panics when asked for more bytes than its addresses reach. JavaScript cannot write it here: its
/// console is the other import.
const CAPACITY_PANIC: &[u8] = b"capacity overflow";

/// Standard output and error are lines of the log: a panic message, mostly.
fn fd_write(mut caller: Caller<'_, HostState>, descriptor: i32, pieces_at: i32, pieces: i32, written_at: i32) -> i32 {
    let level = match descriptor {
        1 => LogLevel::Info,
        2 => LogLevel::Error,
        _ => return ERRNO_BADF,
    };
    let Some(memory) = memory_of(&mut caller) else { return ERRNO_FAULT };
    let (data, state) = memory.data_and_store_mut(&mut caller);
    let mut written = 0u32;
    for index in 0..(pieces as u32).min(MAX_IO_PIECES) {
        let entry = (pieces_at as u32 as usize) + index as usize * 8;
        let Some((at, length)) = read_u32(data, entry).zip(read_u32(data, entry + 4)) else { return ERRNO_FAULT };
        let Some(text) = data.get(at as usize..).and_then(|rest| rest.get(..length as usize)) else {
            return ERRNO_FAULT;
        };
        let kept = text.len().min(state.logs.room());
        state.memory_refused |= text.windows(CAPACITY_PANIC.len()).any(|window| window == CAPACITY_PANIC);
        if !text.is_empty() {
            state.logs.push(level, text[..kept].trim_ascii_end(), text.trim_ascii_end().len());
        }
        written = written.saturating_add(length);
    }
    write(caller, written_at, &written.to_le_bytes())
}

fn read_u32(data: &[u8], at: usize) -> Option<u32> {
    let bytes = data.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_le_bytes(*bytes))
}
