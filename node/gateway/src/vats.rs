//! The vats that a session talks to, each by a client of its own.

use crate::capnweb::Remote;
use crate::capnweb::vats::{Carrier, SessionVats};
use futures::future::BoxFuture;
use quorate_client::{Client, Lasted, LastingCall, Listener};
use quorate_protocol::sturdyref::Sturdyref;
use quorate_streams::abi::Value;
use quorate_streams::client::ClientSession;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Makes clients of vats, and calls; on a host, by asking it where their members are.
pub trait Connects: Send + Sync + 'static {
    /// A client of the vat of a reference, which it has redeemed.
    ///
    /// # Errors
    /// The vat is not found, in words for people.
    fn connect(&self, sturdyref: Sturdyref) -> BoxFuture<'static, Result<Client, String>>;

    /// Makes one call; hosts to ask are added to those that it names.
    fn call(&self, call: LastingCall) -> BoxFuture<'static, Lasted>;
}

/// There is a client of the vat of a reference, which it has redeemed, or there is none.
pub(crate) struct Connected {
    pub sturdyref: Sturdyref,
    pub client: Result<Client, String>,
}

/// The clients of a session's vats, by their numbers.
pub(crate) struct Clients {
    connects: Arc<dyn Connects>,
    /// Where clients that are there now are told of.
    connected: mpsc::UnboundedSender<Connected>,
    clients: Vec<Client>,
    /// Vats to which something is to be said.
    unsaid: BTreeSet<usize>,
}

impl Clients {
    /// No vats yet. What comes by `connected` is to be given to [`connected`].
    pub fn new(connects: Arc<dyn Connects>, connected: mpsc::UnboundedSender<Connected>) -> Clients {
        Clients { connects, connected, clients: Vec::new(), unsaid: BTreeSet::new() }
    }

    /// Has leave what was said to vats.
    pub fn say(&mut self) {
        for vat in std::mem::take(&mut self.unsaid) {
            if let Some(client) = self.clients.get(vat) {
                client.say();
            }
        }
    }

    /// Returns why nothing comes from a vat any more.
    pub fn why_lost(&self, vat: usize) -> String {
        let denial = self.clients.get(vat).and_then(Client::denial);
        denial.map_or_else(|| "too much came from the vat at once".to_owned(), |error| error.to_string())
    }

    /// Ends all clients.
    pub async fn close(self) {
        futures::future::join_all(self.clients.into_iter().map(Client::close)).await;
    }
}

/// Tells the vats of a session of a client that is there now, or is not; gives what it hears, which is to be listened to.
pub(crate) fn connected(vats: &mut SessionVats<Clients>, told: Connected) -> Option<(usize, Listener)> {
    let Connected { sturdyref, client } = told;
    match client {
        Err(why) => {
            vats.not_found(&sturdyref.vat, &why);
            None
        }
        Ok(client) => {
            let (listener, first) = (client.listen(), client.target());
            let vat = vats.carrier().clients.len();
            vats.carrier().clients.push(client);
            vats.found(sturdyref.vat, vat, Some(first));
            Some((vat, listener))
        }
    }
}

impl Carrier for Clients {
    fn find(&mut self, sturdyref: &Sturdyref) {
        let sturdyref = sturdyref.clone();
        let (connected, connecting) = (self.connected.clone(), self.connects.connect(sturdyref.clone()));
        tokio::spawn(async move {
            let client = connecting.await;
            if let Err(mpsc::error::SendError(Connected { client: Ok(client), .. })) =
                connected.send(Connected { sturdyref, client })
            {
                // The session has ended meanwhile.
                client.close().await;
            }
        });
    }

    fn talk<T, E: ToString>(
        &mut self,
        vat: usize,
        say: impl FnOnce(&mut ClientSession) -> Result<T, E>,
    ) -> Result<T, String> {
        let client = self.clients.get(vat).ok_or("a vat that this session does not talk to")?;
        let said = client.quietly(say).map_err(|error| error.to_string())?;
        self.unsaid.insert(vat);
        Ok(said)
    }

    fn secret(&mut self) -> Result<[u8; 32], String> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|error| format!("the system gives no random bytes: {error}"))?;
        Ok(secret)
    }

    fn proof(&mut self, _answer: Remote) -> Result<Value, String> {
        Err("this session trusts its host, which would prove its own word: connect with the client that checks (`quorate`)".to_owned())
    }
}
