//! One session of a page: Cap'n Web with the page, frames with a host.

use crate::link::{Event, Link};
use quorate_capnweb::{session::Session, vats::SessionVats};

/// What comes.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A message of the page's Cap'n Web session.
    Text(&'a str),
    /// A message of the host.
    Frame(&'a [u8]),
    /// There is a connection to a host, in which nothing was said.
    Opened,
    /// It is gone.
    Closed,
    /// Time has passed.
    Tick,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// This is to be given to the page's Cap'n Web session.
    Text(String),
    /// This is to be sent to the host.
    Frame(Vec<u8>),
    /// The host is of no use, for this reason: connect to another one. `has_lied`: it brought what can't be true; else it is silent, or does not
    /// carry the vat.
    Leave { why: String, has_lied: bool },
    /// The session is over, for this reason.
    End(String),
}

/// See the head of the module.
pub struct Page {
    session: Session<SessionVats<Link>>,
    has_ended: bool,
}

impl Page {
    /// A session in which nothing was said. `entropy` must be random, and used for nothing else; `hosts` is how many hosts can be connected to.
    pub fn new(entropy: [u8; 32], hosts: usize) -> Page {
        Page { session: Session::new(SessionVats::new(Link::new(entropy, hosts))), has_ended: false }
    }

    fn link(&mut self) -> &mut Link {
        self.session.vats().carrier()
    }

    /// Takes in one thing that the link or its vats have for the session, if there is one.
    fn turn(&mut self) -> bool {
        if let Some((ticket, found)) = self.session.vats().next_redeemed() {
            self.session.redeemed(ticket, found);
            return true;
        }
        match self.link().next_event() {
            None => return false,
            Some(Event::Found { id, vat: Ok(vat) }) => self.session.vats().found(id, vat, None),
            Some(Event::Found { id, vat: Err(why) }) => self.session.vats().not_found(&id, &why),
            Some(Event::Heard { vat, heard }) => self.session.heard(vat, heard),
            Some(Event::Lost { vat, why }) => self.session.lost(vat, &why),
        }
        true
    }

    /// Takes in what comes, at this time in milliseconds, which never goes back; returns what is to be done, in order.
    pub fn take(&mut self, now_ms: u64, input: Input<'_>) -> Vec<Output> {
        self.link().set_time(now_ms);
        match input {
            Input::Text(text) => self.session.receive(text),
            Input::Frame(frame) => self.link().receive(frame),
            Input::Opened => self.link().opened(),
            Input::Closed => self.link().closed(),
            Input::Tick => {}
        }
        while self.turn() {}
        self.link().ship();
        let mut out: Vec<Output> = self.session.take_out().into_iter().map(Output::Text).collect();
        out.extend(self.link().take_out());
        if let Some(why) = self.session.ended().map(str::to_owned)
            && !std::mem::replace(&mut self.has_ended, true)
        {
            out.push(Output::End(why));
        }
        out
    }
}
