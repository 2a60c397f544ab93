//! One session: what comes by the network, and what comes from vats, one after the other.

use crate::capnweb::session::Session;
use crate::capnweb::vats::SessionVats;
use crate::vats::{Clients, Connected, Connects, connected};
use quorate_client::Listener;
use quorate_streams::client::Heard;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// What vats say and the session has not taken in yet, at most.
const MAX_HEARD: usize = 1_024;

/// What a client of a vat has heard; nothing if it hears no more.
type FromVat = (usize, Option<Heard>);

/// See the head of the module.
pub(crate) struct Connection {
    session: Session<SessionVats<Clients>>,
    connected: mpsc::UnboundedReceiver<Connected>,
    heard: mpsc::Receiver<FromVat>,
    hears: mpsc::Sender<FromVat>,
}

impl Connection {
    /// A session in which nothing was said.
    pub fn new(connects: Arc<dyn Connects>) -> Connection {
        let (sender, connected) = mpsc::unbounded_channel();
        let (hears, heard) = mpsc::channel(MAX_HEARD);
        let vats = SessionVats::new(Clients::new(connects, sender));
        Connection { session: Session::new(vats), connected, heard, hears }
    }

    /// Takes in a message of the client.
    pub fn receive(&mut self, text: &str) {
        self.session.receive(text);
        self.say();
    }

    /// Has leave what was said to vats, when the session knows what came of all redeeming.
    fn say(&mut self) {
        while let Some((ticket, found)) = self.session.vats().next_redeemed() {
            self.session.redeemed(ticket, found);
        }
        self.session.vats().carrier().say();
    }

    /// Takes in from now on what a vat says.
    fn listen(&self, vat: usize, mut listener: Listener) {
        let hears = self.hears.clone();
        tokio::spawn(async move {
            loop {
                let heard = listener.recv().await;
                let is_over = heard.is_none();
                if hears.send((vat, heard)).await.is_err() || is_over {
                    return;
                }
            }
        });
    }

    /// Returns what is to be sent to the client, in order.
    pub fn take_out(&mut self) -> Vec<String> {
        self.session.take_out()
    }

    /// Returns why nothing more is taken in, if that is so.
    pub fn ended(&self) -> Option<&str> {
        self.session.ended()
    }

    /// Waits for something from vats, and takes it in. It may be dropped and called again: nothing is lost.
    pub async fn turn(&mut self) {
        tokio::select! {
            Some(told) = self.connected.recv() => {
                if let Some((vat, listener)) = connected(self.session.vats(), told) {
                    self.listen(vat, listener);
                }
            }
            Some((vat, heard)) = self.heard.recv() => match heard {
                Some(heard) => self.session.heard(vat, heard),
                None => {
                    let why = self.session.vats().carrier().why_lost(vat);
                    self.session.lost(vat, &why);
                }
            },
        }
        self.say();
    }

    /// Waits until all that was asked for is answered, but not longer than so.
    pub async fn finish(&mut self, patience: Duration) {
        let until = Instant::now() + patience;
        while self.session.is_waited_for() && self.session.ended().is_none() {
            if tokio::time::timeout_at(until, self.turn()).await.is_err() {
                return;
            }
        }
    }

    /// Ends the clients of vats.
    pub async fn close(self) {
        self.session.into_vats().into_carrier().close().await;
    }
}
