//! One session: what comes by the network, and what comes from vats, one after the other.

use crate::capnweb::session::Session;
use crate::vats::{Connections, Connects, Event};
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
    session: Session<Connections>,
    events: mpsc::UnboundedReceiver<Event>,
    heard: mpsc::Receiver<FromVat>,
    hears: mpsc::Sender<FromVat>,
}

impl Connection {
    /// A session in which nothing was said.
    pub fn new(connects: Arc<dyn Connects>) -> Connection {
        let (sender, events) = mpsc::unbounded_channel();
        let (hears, heard) = mpsc::channel(MAX_HEARD);
        Connection { session: Session::new(Connections::new(connects, sender)), events, heard, hears }
    }

    /// Takes in a message of the client.
    pub fn receive(&mut self, text: &str) {
        self.session.receive(text);
        self.session.vats().say();
    }

    /// What is to be sent to the client, in order.
    pub fn take_out(&mut self) -> Vec<String> {
        self.session.take_out()
    }

    /// Why nothing more is taken in, if that is so.
    pub fn ended(&self) -> Option<&str> {
        self.session.ended()
    }

    /// Waits for something from vats, and takes it in. It may be dropped and called again: nothing is lost.
    pub async fn turn(&mut self) {
        tokio::select! {
            Some(event) = self.events.recv() => match event {
                Event::Redeemed { ticket, found } => self.session.redeemed(ticket, found),
                Event::Connected { sturdyref, client } => self.session.vats().connected(&sturdyref, client),
                Event::Listen { vat, mut listener } => {
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
            },
            Some((vat, heard)) = self.heard.recv() => match heard {
                Some(heard) => self.session.heard(vat, heard),
                None => {
                    let why = self.session.vats().why_lost(vat);
                    self.session.lost(vat, &why);
                }
            },
        }
        self.session.vats().say();
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
        self.session.into_vats().close().await;
    }
}
