//! The fuel price of each instruction.
//!
//! Replicas must agree on the table: a vat's parameters name its hash ([`fuel_prices_hash`]). So a version of
//! wasmtime with other prices of its own changes no outcome, and a program with another table refuses the vat.
//!
//! Invariants: the table has every instruction that an image may contain; an image with another one is refused. The hash covers the
//! whole table. Golden executions hold what wasmtime counts beside instructions: one for entering a function.

use quorate_ids::Hash;
use std::sync::LazyLock;
use wasmparser::Operator;
use wasmtime::{OperatorCost, VariableOperatorCost};

/// In front of what is hashed; raised with any change of how the table is hashed.
const DOMAIN: &[u8] = b"quorate/fuel-prices/1";

macro_rules! prices {
    ($($price:literal: $($operator:ident)*;)*) => {
        /// Names and prices of all instructions, in the order of this file.
        const OPERATORS: &[(&str, u8)] = &[$($((stringify!($operator), $price)),*),*];

        /// Returns whether an instruction has a price.
        pub(crate) fn has_price(operator: &Operator<'_>) -> bool {
            matches!(operator, $($(Operator::$operator { .. })|*)|*)
        }

        fn set_prices(cost: &mut OperatorCost) {
            $($(cost.$operator = $price;)*)*
        }
    };
}

// Control flow that makes no code of its own is free, and so is what drops a value. All else is one operation.
prices! {
    0: Nop Drop Block Loop Unreachable Return Else End;
    1: If Br BrIf BrTable Call CallIndirect Select TypedSelect
       LocalGet LocalSet LocalTee GlobalGet GlobalSet
       I32Load I64Load F32Load F64Load
       I32Load8S I32Load8U I32Load16S I32Load16U
       I64Load8S I64Load8U I64Load16S I64Load16U I64Load32S I64Load32U
       I32Store I64Store F32Store F64Store
       I32Store8 I32Store16 I64Store8 I64Store16 I64Store32
       MemorySize MemoryGrow MemoryCopy MemoryFill
       I32Const I64Const F32Const F64Const
       I32Eqz I32Eq I32Ne I32LtS I32LtU I32GtS I32GtU I32LeS I32LeU I32GeS I32GeU
       I64Eqz I64Eq I64Ne I64LtS I64LtU I64GtS I64GtU I64LeS I64LeU I64GeS I64GeU
       F32Eq F32Ne F32Lt F32Gt F32Le F32Ge
       F64Eq F64Ne F64Lt F64Gt F64Le F64Ge
       I32Clz I32Ctz I32Popcnt I32Add I32Sub I32Mul I32DivS I32DivU I32RemS I32RemU
       I32And I32Or I32Xor I32Shl I32ShrS I32ShrU I32Rotl I32Rotr
       I64Clz I64Ctz I64Popcnt I64Add I64Sub I64Mul I64DivS I64DivU I64RemS I64RemU
       I64And I64Or I64Xor I64Shl I64ShrS I64ShrU I64Rotl I64Rotr
       F32Abs F32Neg F32Ceil F32Floor F32Trunc F32Nearest F32Sqrt F32Add F32Sub F32Mul F32Div F32Min F32Max F32Copysign
       F64Abs F64Neg F64Ceil F64Floor F64Trunc F64Nearest F64Sqrt F64Add F64Sub F64Mul F64Div F64Min F64Max F64Copysign
       I32WrapI64 I32TruncF32S I32TruncF32U I32TruncF64S I32TruncF64U
       I64ExtendI32S I64ExtendI32U I64TruncF32S I64TruncF32U I64TruncF64S I64TruncF64U
       F32ConvertI32S F32ConvertI32U F32ConvertI64S F32ConvertI64U F32DemoteF64
       F64ConvertI32S F64ConvertI32U F64ConvertI64S F64ConvertI64U F64PromoteF32
       I32ReinterpretF32 I64ReinterpretF64 F32ReinterpretI32 F64ReinterpretI64
       I32Extend8S I32Extend16S I64Extend8S I64Extend16S I64Extend32S
       I32TruncSatF32S I32TruncSatF32U I32TruncSatF64S I32TruncSatF64U
       I64TruncSatF32S I64TruncSatF32U I64TruncSatF64S I64TruncSatF64U
       TableGet TableSize RefNull RefIsNull RefFunc;
}

/// What is paid for each byte, page or element beside the instruction that moves them.
const VARIABLE: VariableOperatorCost = VariableOperatorCost {
    memory_copy_per_byte: 1,
    memory_fill_per_byte: 1,
    memory_init_per_byte: 1,
    memory_grow_per_page: 0,
    table_copy_per_element: 1,
    table_fill_per_element: 1,
    table_init_per_element: 1,
    table_grow_per_element: 1,
    array_copy_per_element: 1,
    array_fill_per_element: 1,
    array_new_data_per_element: 1,
    array_init_data_per_element: 1,
    array_new_elem_per_element: 1,
    array_init_elem_per_element: 1,
    array_new_default_per_element: 1,
    array_new_per_element: 1,
};

/// Names and prices of [`VARIABLE`] that an image can come upon: what writes to tables or knows arrays is refused.
const VARIABLES: &[(&str, u8)] = &[
    ("memory_copy_per_byte", VARIABLE.memory_copy_per_byte),
    ("memory_fill_per_byte", VARIABLE.memory_fill_per_byte),
    ("memory_grow_per_page", VARIABLE.memory_grow_per_page),
];

/// The table as wasmtime takes it.
pub(super) fn operator_cost() -> OperatorCost {
    let mut cost = OperatorCost::new();
    set_prices(&mut cost);
    cost.variable = VARIABLE;
    cost
}

/// The hash of the table by which this program counts fuel: what a vat's parameters name.
pub fn fuel_prices_hash() -> Hash {
    static HASH: LazyLock<Hash> = LazyLock::new(|| hash_of(OPERATORS, VARIABLES));
    *HASH
}

/// `H(domain || count || count × (length of the name || name || price) || the same of the variable ones)`, lengths and counts in one byte
/// or four, little-endian.
fn hash_of(operators: &[(&str, u8)], variables: &[(&str, u8)]) -> Hash {
    let mut bytes = DOMAIN.to_vec();
    for table in [operators, variables] {
        bytes.extend((table.len() as u32).to_le_bytes());
        for (name, price) in table {
            bytes.push(name.len() as u8);
            bytes.extend(name.as_bytes());
            bytes.push(*price);
        }
    }
    Hash::of_parts(&[&bytes])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Vats that exist name this hash. Who changes a price changes the rules of every one of them: it must be wanted.
    #[test]
    fn the_table_is_the_recorded_one() {
        assert_eq!(fuel_prices_hash().to_string(), RECORDED);
    }

    const RECORDED: &str = "d383709cbb27f5ffd3a8c396f16d57d9d9430a074bcec4a053a81cb04f31d13c";

    #[test]
    fn another_price_is_another_table() {
        let mut seen = BTreeSet::from([fuel_prices_hash()]);
        for (at, _) in OPERATORS.iter().enumerate() {
            let mut other = OPERATORS.to_vec();
            other[at].1 += 1;
            assert!(seen.insert(hash_of(&other, VARIABLES)), "{}", other[at].0);
        }
        for (at, _) in VARIABLES.iter().enumerate() {
            let mut other = VARIABLES.to_vec();
            other[at].1 += 1;
            assert!(seen.insert(hash_of(OPERATORS, &other)), "{}", other[at].0);
        }
        assert!(seen.insert(hash_of(&OPERATORS[1..], VARIABLES)), "one that is left out");
    }

    #[test]
    fn each_instruction_is_in_the_table_once() {
        let names: BTreeSet<&str> = OPERATORS.iter().map(|(name, _)| *name).collect();
        assert_eq!(names.len(), OPERATORS.len());
    }

    /// Prices are those that wasmtime 48 has by itself, so that what was measured and recorded before holds.
    #[test]
    fn the_table_is_what_wasmtime_had() {
        assert_eq!(operator_cost(), OperatorCost::new());
    }
}
