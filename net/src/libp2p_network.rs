//! The network over libp2p (under construction).

use std::sync::Arc;

use crate::{NetError, NetOptions};

/// The network over libp2p.
#[derive(Debug)]
pub struct Libp2pNetwork {}

impl Libp2pNetwork {
    /// Starts.
    ///
    /// # Errors
    /// [`NetError::Start`].
    pub async fn start(options: NetOptions) -> Result<Arc<dyn crate::Network>, NetError> {
        Err(NetError::Start(format!("not implemented: {options:?}")))
    }
}
