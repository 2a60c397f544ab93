//! Values of an instance's globals, as checkpoints keep them.
//!
//! Invariant: a value and its bits are the same thing; no two values have the same canonical bytes.

use serde::{Deserialize, Serialize};
use wasmtime::Val;

/// A value of one exported mutable global. Floats are kept as their bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GlobalValue {
    I32(i32),
    I64(i64),
    F32(u32),
    F64(u64),
}

impl GlobalValue {
    /// Only number types are admitted when the image is loaded.
    pub(crate) fn of(value: &Val) -> GlobalValue {
        match value {
            Val::I32(value) => GlobalValue::I32(*value),
            Val::I64(value) => GlobalValue::I64(*value),
            Val::F32(bits) => GlobalValue::F32(*bits),
            Val::F64(bits) => GlobalValue::F64(*bits),
            _ => unreachable!("exported mutable globals of the image are numbers"),
        }
    }

    pub(crate) fn same_type(self, other: GlobalValue) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }

    /// Its type and its bits, for hashing.
    pub(crate) fn canonical(self) -> [u8; 9] {
        let (tag, bits) = match self {
            GlobalValue::I32(value) => (0, u64::from(value as u32)),
            GlobalValue::I64(value) => (1, value as u64),
            GlobalValue::F32(bits) => (2, u64::from(bits)),
            GlobalValue::F64(bits) => (3, bits),
        };
        let mut bytes = [tag; 9];
        bytes[1..].copy_from_slice(&bits.to_le_bytes());
        bytes
    }
}

impl From<GlobalValue> for Val {
    fn from(value: GlobalValue) -> Val {
        match value {
            GlobalValue::I32(value) => Val::I32(value),
            GlobalValue::I64(value) => Val::I64(value),
            GlobalValue::F32(bits) => Val::F32(bits),
            GlobalValue::F64(bits) => Val::F64(bits),
        }
    }
}
