//! One session of a page: Cap'n Web with the page, frames with a host.

use crate::link::{Event, Link};
use quorate_capnweb::session::Session;

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
    /// The host is of no use, for this reason: connect to another one.
    Leave(String),
    /// The session is over, for this reason.
    End(String),
}

/// See the head of the module.
pub struct Page {
    session: Session<Link>,
    has_ended: bool,
}

impl Page {
    /// A session in which nothing was said. `entropy` must be random, and used for nothing else; `hosts` is how many hosts can be connected to.
    pub fn new(entropy: [u8; 32], hosts: usize) -> Page {
        Page { session: Session::new(Link::new(entropy, hosts)), has_ended: false }
    }

    /// Takes in what comes, at this time in milliseconds, which never goes back; returns what is to be done, in order.
    pub fn take(&mut self, now_ms: u64, input: Input<'_>) -> Vec<Output> {
        self.session.vats().set_time(now_ms);
        match input {
            Input::Text(text) => self.session.receive(text),
            Input::Frame(frame) => self.session.vats().receive(frame),
            Input::Opened => self.session.vats().opened(),
            Input::Closed => self.session.vats().closed(),
            Input::Tick => {}
        }
        while let Some(event) = self.session.vats().next_event() {
            match event {
                Event::Redeemed { ticket, found } => self.session.redeemed(ticket, found),
                Event::Heard { vat, heard } => self.session.heard(vat, heard),
                Event::Lost { vat, why } => self.session.lost(vat, &why),
            }
        }
        self.session.vats().ship();
        let mut out: Vec<Output> = self.session.take_out().into_iter().map(Output::Text).collect();
        out.extend(self.session.vats().take_out());
        if let Some(why) = self.session.ended().map(str::to_owned)
            && !std::mem::replace(&mut self.has_ended, true)
        {
            out.push(Output::End(why));
        }
        out
    }
}
