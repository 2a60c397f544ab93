//! Values as JSON where clients run in browsers: `abi` leaves it out on wasm32, for the guest.

use crate::abi::{MAX_VALUE_DEPTH, Value, value};

#[path = "../../src/abi/json.rs"]
pub mod json;
