//! Passing objects of other vats in a call.
//!
//! The vat that is called gets such an object from its home, as it gets any object of a third vat (`comms` of the engine): it withdraws
//! there what was deposited for it. A client is another vat to each vat that it talks to, since it says by its id until which of that
//! vat's blocks it is heard. So what the call names is lent: a second client, of the object's home, deposits it.
//!
//! Invariants: the call is made only after the home has taken in the deposit; who only sees what is said can withdraw nothing, since a
//! deposit names the vat that it is for, and its number stands for the client that calls.

use super::{Client, ClientError};
use quorate_ids::VatId;
use quorate_proof::Member;
use quorate_protocol::sturdyref::Sturdyref;
use quorate_streams::{
    abi::Value,
    client::{ClientRef, Completion},
};
use std::collections::BTreeMap;
use tokio::{sync::oneshot, time::Instant};

/// The clients that lend something to a call.
#[derive(Default)]
pub(super) struct Lenders(Vec<Client>);

/// Deposits the objects of other vats among `slots`, and gives what a call of `borrower` names all of `slots` by. `given` are the names of
/// those that live in the called vat, in their order.
pub(super) async fn lend(
    borrower: &Client,
    slots: &[Sturdyref],
    given: &[ClientRef],
    hosts: &[Member],
    lifetime_blocks: u64,
    until: Instant,
) -> Result<(Vec<ClientRef>, Lenders), ClientError> {
    let mut lenders = Lenders::default();
    match lend_by(&mut lenders, borrower, slots, given, hosts, lifetime_blocks, until).await {
        Ok(names) => Ok((names, lenders)),
        Err(error) => {
            lenders.close().await;
            Err(error)
        }
    }
}

/// The same by `lenders`, which are there after a failure, too.
async fn lend_by(
    lenders: &mut Lenders,
    borrower: &Client,
    slots: &[Sturdyref],
    given: &[ClientRef],
    hosts: &[Member],
    lifetime_blocks: u64,
    until: Instant,
) -> Result<Vec<ClientRef>, ClientError> {
    let home = borrower.inner.target;
    let mut by_home: BTreeMap<VatId, Vec<(usize, &Sturdyref)>> = BTreeMap::new();
    for (place, slot) in slots.iter().enumerate().filter(|(_, slot)| slot.vat != home) {
        by_home.entry(slot.vat).or_default().push((place, slot));
    }
    let mut given = given.iter();
    let mut names: Vec<Option<ClientRef>> =
        slots.iter().map(|slot| if slot.vat == home { given.next().copied() } else { None }).collect();
    let (mut objects, mut deposits) = (BTreeMap::new(), BTreeMap::new());
    for (index, lent) in by_home.values().enumerate() {
        let opened = open(lent, hosts, lifetime_blocks, until, lenders).await?;
        objects.extend(lent.iter().zip(opened).map(|((place, _), object)| (*place, (index, object))));
    }
    // Loans are numbered in the order in which the call names them.
    for (place, (index, object)) in objects {
        let lender = &lenders.0[index];
        let (name, number) = borrower.inner.lock().talk.session.lend(lender.inner.target, lender.vat());
        names[place] = Some(name);
        deposits.entry(index).or_insert_with(Vec::new).push((number, object));
    }
    for (index, deposits) in deposits {
        deposit(&lenders.0[index], home, deposits, until).await?;
    }
    Ok(names.into_iter().flatten().collect())
}

/// Starts a client of the vat that these live in, and gives the numbers that they have for it there.
async fn open(
    lent: &[(usize, &Sturdyref)],
    hosts: &[Member],
    lifetime_blocks: u64,
    until: Instant,
    lenders: &mut Lenders,
) -> Result<Vec<u64>, ClientError> {
    let Some(((_, first), rest)) = lent.split_first() else { return Ok(Vec::new()) };
    let rest: Vec<Sturdyref> = rest.iter().map(|(_, sturdyref)| (*sturdyref).clone()).collect();
    let client = Client::connect_with(first, &rest, hosts, lifetime_blocks, until).await?;
    let opening = client.opening();
    lenders.0.push(client);
    let mut objects = Vec::new();
    for opened in opening {
        let object = match opened {
            Ok(object) => object,
            Err(answer) => match tokio::time::timeout_at(until, answer).await {
                Ok(Ok(answer)) => object_of(&answer).map_err(|why| ClientError::NotLent(first.vat, why))?,
                _ => return Err(ClientError::NotLent(first.vat, "that vat did not answer in time".to_owned())),
            },
        };
        objects.push(object);
    }
    Ok(objects)
}

/// The object that a bearer opened, or why it opens none.
fn object_of(answer: &Completion) -> Result<u64, String> {
    match (&answer.value, &answer.slots[..]) {
        (_, [ClientRef::Object(id)]) if answer.fulfilled => Ok(*id),
        (Value::Error { message, .. }, _) => Err(message.clone()),
        _ => Err("that vat's answer is not understood".to_owned()),
    }
}

/// Deposits objects for `to`, and waits until that is taken in.
async fn deposit(lender: &Client, to: VatId, deposits: Vec<(u64, u64)>, until: Instant) -> Result<(), ClientError> {
    {
        let mut session = lender.inner.lock();
        for (number, object) in deposits {
            session.talk.session.deposit(to, number, object).map_err(|error| ClientError::Call(error.to_string()))?;
        }
        lender.inner.speak(&mut session);
    }
    loop {
        let heard = lender.inner.heard.notified();
        if lender.unacknowledged() == 0 {
            return Ok(());
        }
        if tokio::time::timeout_at(until, heard).await.is_err() {
            let why = "that vat did not take the deposit in time".to_owned();
            return Err(ClientError::NotLent(lender.inner.target, why));
        }
    }
}

impl Client {
    /// Returns what each sturdyref that this client was made with names: an object's number, or the answer that will say it.
    fn opening(&self) -> Vec<Result<u64, oneshot::Receiver<Completion>>> {
        let mut session = self.inner.lock();
        let names: Vec<ClientRef> = [session.target].into_iter().chain(session.given.clone()).collect();
        let opening = names
            .into_iter()
            .map(|name| match name {
                ClientRef::Object(id) => Ok(id),
                name => {
                    let (sender, receiver) = oneshot::channel();
                    session.waiting.insert(name, sender);
                    Err(receiver)
                }
            })
            .collect();
        self.inner.speak(&mut session);
        opening
    }
}

impl Lenders {
    /// Sends their farewells. Their deposits stay for the receivers.
    pub(super) async fn close(self) {
        futures::future::join_all(self.0.into_iter().map(Client::close)).await;
    }
}
