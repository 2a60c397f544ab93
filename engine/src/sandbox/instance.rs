//! One wasm instance: calls into the guest, and their outcomes.
//!
//! Invariants: fuel is set before every call, so that nothing carries over. After [`Call::Trapped`] the instance is spent (its
//! stack pointer and allocator are in the middle of an operation) and must be dropped. Whether a call traps, and after how much
//! fuel, is the same on every host.

use super::globals::GlobalValue;
use super::imports::{GuestExit, HostState};
use super::logs::{LogBuffer, LogLine};
use super::memory::BaseFile;
use super::{LimitKind, stack};
use crate::error::EngineError;
use wasmtime::{Engine, Global, InstancePre, Memory, Store, Trap, TypedFunc, Val};

/// Bytes of a wasm page.
pub(crate) const WASM_PAGE_BYTES: usize = 64 << 10;

/// The global with which an image limits its own stack, if it does.
pub(crate) const STACK_GLOBAL: &str = "quorate_stack";

/// What came of one call.
#[derive(Debug)]
pub(crate) enum Call {
    /// The guest answered with these bytes.
    Answered { answer: Vec<u8>, fuel: u64 },
    /// It did not come to an answer; the instance is spent.
    Trapped(LimitKind),
}

pub(crate) struct Instance {
    store: Store<HostState>,
    memory: Memory,
    globals: Vec<Global>,
    alloc: TypedFunc<u32, u32>,
    deliver: TypedFunc<(u32, u32), u64>,
    /// The image limits its stack by itself, so that running out of native stack is a fault of the host.
    limits_own_stack: bool,
    instance: wasmtime::Instance,
}

impl Instance {
    /// A bare instance: its memory is as small as the module allows, and empty.
    pub fn bare(
        engine: &Engine,
        module: &InstancePre<HostState>,
        global_names: &[String],
        memory_limit: usize,
    ) -> Result<Instance, EngineError> {
        let state = HostState { memory_limit, memory_refused: false, seed: 0, logs: LogBuffer::default() };
        let mut store = Store::try_new(engine, state).map_err(sandbox("making a store"))?;
        store.limiter(|state| state);
        let instance = module.instantiate(&mut store).map_err(sandbox("instantiating the image"))?;
        let missing = |what: &str| EngineError::Image(format!("it does not export {what}"));
        let memory = instance.get_memory(&mut store, "memory").ok_or_else(|| missing("its memory"))?;
        let alloc = instance.get_typed_func(&mut store, "quorate_alloc").map_err(|_| missing("quorate_alloc"))?;
        let deliver = instance.get_typed_func(&mut store, "quorate_deliver").map_err(|_| missing("quorate_deliver"))?;
        let mut globals = Vec::with_capacity(global_names.len());
        for name in global_names {
            globals.push(instance.get_global(&mut store, name).ok_or_else(|| missing(name))?);
        }
        let limits_own_stack = global_names.iter().any(|name| name == STACK_GLOBAL);
        Ok(Instance { store, memory, globals, alloc, deliver, limits_own_stack, instance })
    }

    /// Sets what the image's source of randomness depends on, beside a constant.
    pub fn set_seed(&mut self, seed: u64) {
        self.store.data_mut().seed = seed;
    }

    /// Sets what the guest's memory may grow to.
    pub fn set_memory_limit(&mut self, bytes: usize) {
        self.store.data_mut().memory_limit = bytes;
    }

    /// Runs an export without arguments and results, if there is one of this name. For making base heaps.
    pub fn run(&mut self, name: &str, fuel: u64) -> Result<bool, EngineError> {
        let Some(function) = self.instance.get_func(&mut self.store, name) else { return Ok(false) };
        let function =
            function.typed::<(), ()>(&self.store).map_err(|error| EngineError::Image(format!("{name}: {error}")))?;
        self.store.set_fuel(fuel).map_err(sandbox("setting fuel"))?;
        function.call(&mut self.store, ()).map_err(|error| {
            let lines: Vec<String> = self.store.data_mut().logs.take().into_iter().map(|line| line.text).collect();
            EngineError::Image(format!("{name} failed: {error:#}; it wrote: {}", lines.join("\n")))
        })?;
        Ok(true)
    }

    /// The result of the image's `quorate_abi`.
    pub fn abi_version(&mut self) -> Result<i32, EngineError> {
        let function = self
            .instance
            .get_typed_func::<(), i32>(&mut self.store, "quorate_abi")
            .map_err(|_| EngineError::Image("it does not export quorate_abi".into()))?;
        self.store.set_fuel(1 << 20).map_err(sandbox("setting fuel"))?;
        function.call(&mut self.store, ()).map_err(sandbox("asking for the version"))
    }

    /// Makes the memory `size` bytes large, with a copy-on-write view of `base` at its beginning. The memory was not written
    /// to before.
    pub fn lay_over(&mut self, base: &BaseFile, size: usize) -> Result<(), EngineError> {
        let have = self.memory.data_size(&self.store);
        assert!(have <= base.len() && base.len() <= size, "heaps only ever grow");
        let pages = ((size - have) / WASM_PAGE_BYTES) as u64;
        self.memory.grow(&mut self.store, pages).map_err(sandbox("growing a memory"))?;
        if self.memory.data_size(&self.store) != size {
            return Err(EngineError::Sandbox { doing: "growing a memory", message: format!("not {size} bytes") });
        }
        // SAFETY: the memory was made by `VatMemories`, so its first `size` bytes are pages of a reservation that belongs to
        // this memory; `&mut self` means that no guest runs and no slice of it is held.
        unsafe { base.map_private_at(self.memory.data_ptr(&self.store)) }
    }

    /// The guest's memory.
    pub fn bytes(&self) -> &[u8] {
        self.memory.data(&self.store)
    }

    /// The guest's memory, to write to between calls.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.memory.data_mut(&mut self.store)
    }

    /// Values of the exported mutable globals, in the order of their names.
    pub fn globals(&mut self) -> Vec<GlobalValue> {
        let Instance { store, globals, .. } = self;
        globals.iter().map(|global| GlobalValue::of(&global.get(&mut *store))).collect()
    }

    pub fn set_globals(&mut self, values: &[GlobalValue]) -> Result<(), EngineError> {
        assert_eq!(values.len(), self.globals.len(), "as many values as the image has globals");
        for (global, value) in self.globals.iter().zip(values) {
            global.set(&mut self.store, Val::from(*value)).map_err(sandbox("setting a global"))?;
        }
        Ok(())
    }

    /// Bytes that the guest's memory has now.
    pub fn size(&self) -> usize {
        self.memory.data_size(&self.store)
    }

    /// Returns what the guest logged since this was last asked.
    pub fn take_logs(&mut self) -> Vec<LogLine> {
        self.store.data_mut().logs.take()
    }

    /// Hands one encoded delivery to the guest and runs it to its end.
    pub fn deliver(&mut self, delivery: &[u8], fuel: u64) -> Result<Call, EngineError> {
        stack::check()?;
        self.store.data_mut().memory_refused = false;
        self.store.set_fuel(fuel).map_err(sandbox("setting fuel"))?;
        match self.exchange(delivery) {
            Ok(Some(answer)) => {
                let left = self.store.get_fuel().map_err(sandbox("reading fuel"))?;
                Ok(Call::Answered { answer, fuel: fuel - left })
            }
            Ok(None) => Ok(Call::Trapped(LimitKind::Abort)),
            Err(error) => self.judge(error).map(Call::Trapped),
        }
    }

    /// `None` if the guest gave a pointer that is not in its memory.
    fn exchange(&mut self, delivery: &[u8]) -> wasmtime::Result<Option<Vec<u8>>> {
        let length = u32::try_from(delivery.len())?;
        let pointer = self.alloc.call(&mut self.store, length)?;
        if self.memory.write(&mut self.store, pointer as usize, delivery).is_err() {
            return Ok(None);
        }
        let answer = self.deliver.call(&mut self.store, (pointer, length))?;
        let (at, length) = ((answer >> 32) as usize, (answer & 0xffff_ffff) as usize);
        Ok(self.bytes().get(at..).and_then(|rest| rest.get(..length)).map(<[u8]>::to_vec))
    }

    /// Whose fault it is that a call ended: the guest's, and which limit, or the host's.
    fn judge(&self, error: wasmtime::Error) -> Result<LimitKind, EngineError> {
        let error = match error.downcast::<EngineError>() {
            Ok(fault) => return Err(fault),
            Err(error) => error,
        };
        let refused = self.store.data().memory_refused;
        let abort = if refused { LimitKind::Memory } else { LimitKind::Abort };
        match error.downcast_ref::<Trap>() {
            Some(Trap::OutOfFuel) => Ok(LimitKind::Fuel),
            Some(Trap::StackOverflow) if self.limits_own_stack => Err(EngineError::Sandbox {
                doing: "delivering",
                message: "the native stack ran out before the image's own limit".into(),
            }),
            // The guest's shadow stack is at the bottom of its memory: what runs out of it reaches below address zero.
            Some(Trap::StackOverflow | Trap::MemoryOutOfBounds) => Ok(LimitKind::Stack),
            Some(_) => Ok(abort),
            None if error.is::<GuestExit>() => Ok(abort),
            None => Err(EngineError::Sandbox { doing: "delivering", message: format!("{error:#}") }),
        }
    }
}

fn sandbox(doing: &'static str) -> impl Fn(wasmtime::Error) -> EngineError {
    move |error| match error.downcast::<EngineError>() {
        Ok(fault) => fault,
        Err(error) => EngineError::Sandbox { doing, message: format!("{error:#}") },
    }
}
