//! What must hold in every world, one promise a file. Some judge while the world goes on, some at its end.

pub mod accused;
pub mod authorised;
pub mod certified;
pub mod durable;
pub mod equal_state;
pub mod exactly_once;
pub mod leaders;
pub mod linearizable;
pub mod progress;
pub mod time;
