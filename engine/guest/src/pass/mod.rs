//! Passing values: between JavaScript and what crosses the border.

pub mod marshal;
pub mod style;
pub mod symbols;
pub mod tagged;
pub mod unmarshal;
