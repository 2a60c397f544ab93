//! Clients that go on talking: what they give the vat it calls, and they say several things at once.

use super::{Client, ClientError, Session};
use quorate_protocol::sturdyref::Sturdyref;
use quorate_streams::client::{ClientRef, ClientSession, Heard};
use tokio::sync::mpsc;

/// What comes from the vat and is not taken at most, by count. What is longer ends the listening: its owner is too slow.
const MAX_HEARD: usize = 16_384;

/// What comes from the vat, in order. It ends when the client does, or when too much was not taken.
pub type Listener = mpsc::Receiver<Heard>;

impl Client {
    /// Hears from now on what comes from the vat and no call of [`Client::call`] or [`Client::begin`] waits for.
    pub fn listen(&self) -> Listener {
        let (sender, listener) = mpsc::channel(MAX_HEARD);
        self.inner.lock().listener = Some(sender);
        listener
    }

    /// Returns what the reference names that the client was made with.
    pub fn target(&self) -> ClientRef {
        self.inner.lock().target
    }

    /// Says things, which leave with [`Client::say`].
    pub fn quietly<T>(&self, talk: impl FnOnce(&mut ClientSession) -> T) -> T {
        talk(&mut self.inner.lock().talk.session)
    }

    /// Has leave what was said.
    pub fn say(&self) {
        let mut session = self.inner.lock();
        session.noted.say();
        self.inner.speak(&mut session);
    }

    /// Uses another reference to the same vat. It leaves with [`Client::say`].
    ///
    /// # Errors
    /// Too much is under way.
    pub fn redeem(&self, sturdyref: &Sturdyref) -> Result<ClientRef, ClientError> {
        super::redeem(&mut self.inner.lock().talk.session, sturdyref)
    }

    /// Returns why members take nothing of this client any more, if that is so.
    pub fn denial(&self) -> Option<ClientError> {
        self.inner.lock().denied.clone().map(ClientError::from)
    }
}

impl Session {
    /// Passes a message to the listener.
    pub(super) fn tell(&mut self, heard: Heard) {
        if self.listener.as_ref().is_some_and(|listener| listener.try_send(heard).is_err()) {
            self.listener = None;
        }
    }
}
