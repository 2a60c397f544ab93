//! What a checkpoint's statement says of the whole state.

use quorate_ids::{Canonical, Hash};

/// The root that a checkpoint's statement carries.
pub fn state_root(state: &[u8], machine_root: &Hash) -> Hash {
    let mut inner = Canonical::new("quorate/consensus-state/1");
    inner.bytes(state);
    let mut outer = Canonical::new("quorate/state/1");
    outer.fixed(&inner.hash().0).fixed(&machine_root.0);
    outer.hash()
}
