//! `vat top`: hosts and vats as they change, on a terminal of their own.
//!
//! [`model`] makes rows of what hosts say and of what they said before, [`view`] draws them; both are pure. Here is the loop: look once a
//! second, draw, read keys. The terminal is left as it was, also after a panic (ratatui's hook).

mod model;
mod view;

use super::{Exit, Failure, Outcome, hosts::HostsOption, signals::Signals};
use model::{Column, Model, Sample};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use std::{
    io::IsTerminal,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::sync::mpsc;

/// How often hosts are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often the thread that reads keys looks whether it is still wanted.
const KEYS_PATIENCE: Duration = Duration::from_millis(100);
/// Keys that wait to be taken.
const MAX_KEYS: usize = 64;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  vat top                  the hosts of the testnet in ./quorate-testnet\n  vat top --home HOME      one host\n\nKeys: q quits; s sorts by the next column, S by the one before, r the other way round; / filters by the names of vats and hosts; f shows only\nwhat is wrong; arrows, page up and page down move.\n\nMARGIN is how many more members the vat can lose and still speak; LAG how many blocks a replica is behind the newest that is seen. Where\nthere is no terminal: `vat status --watch`."
)]
pub struct Args {
    /// Show only vats and hosts with this in their names
    #[arg(long, default_value = "")]
    filter: String,
    #[command(flatten)]
    hosts: HostsOption,
}

pub async fn run(args: Args, json: bool) -> Outcome {
    if json {
        return Err(Failure::new(
            Exit::Usage,
            "`vat top` draws on a terminal and has no JSON; `vat status --watch --json` prints a line each second",
        ));
    }
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(Failure::new(
            Exit::Usage,
            "`vat top` needs a terminal; without one, `vat status --watch` prints the same again and again",
        ));
    }
    // Before the screen is taken, so that what is wrong is not on it.
    let first = look(&args.hosts).await?;
    let mut model = Model::new(args.filter.clone());
    model.take(first);
    let mut signals = Signals::listen()?;
    let mut terminal = ratatui::try_init()?;
    let (keys, wanted) = read_keys();
    let shown = show(&args.hosts, model, &mut terminal, keys, &mut signals).await;
    wanted.store(false, Ordering::Relaxed);
    ratatui::restore();
    shown
}

async fn show(
    hosts: &HostsOption,
    mut model: Model,
    terminal: &mut ratatui::DefaultTerminal,
    mut keys: mpsc::Receiver<Event>,
    signals: &mut Signals,
) -> Outcome {
    let mut tick = tokio::time::interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tick.tick().await;
    // Looking may take seconds where a host hangs; keys are heard meanwhile.
    let mut looking: Option<futures::future::BoxFuture<'_, Result<Sample, Failure>>> = None;
    loop {
        terminal.draw(|frame| view::draw(frame, &mut model))?;
        tokio::select! {
            () = signals.any() => return Ok(Exit::Success),
            event = keys.recv() => match event {
                None => return Ok(Exit::Success),
                Some(Event::Key(key)) if key.kind != KeyEventKind::Release && !take_key(&mut model, key) => return Ok(Exit::Success),
                Some(_) => {}
            },
            sample = async {
                match &mut looking {
                    Some(looking) => looking.await,
                    None => std::future::pending().await,
                }
            } => {
                looking = None;
                model.take(sample?);
            }
            _ = tick.tick() => if looking.is_none() {
                looking = Some(Box::pin(look(hosts)));
            },
        }
    }
}

/// What all hosts say now.
async fn look(hosts: &HostsOption) -> Result<Sample, Failure> {
    let hosts = hosts.all().await?;
    let pages = hosts.iter().map(|host| async {
        match &host.status {
            Some(_) => host.endpoint.get_text("/metrics").await.unwrap_or_default(),
            None => String::new(),
        }
    });
    let pages = futures::future::join_all(pages).await;
    Ok(Sample::of(&hosts, &pages))
}

/// Reads keys in a thread of its own, as long as they are wanted.
fn read_keys() -> (mpsc::Receiver<Event>, Arc<AtomicBool>) {
    let (sender, receiver) = mpsc::channel(MAX_KEYS);
    let wanted = Arc::new(AtomicBool::new(true));
    let is_wanted = wanted.clone();
    std::thread::spawn(move || {
        while is_wanted.load(Ordering::Relaxed) {
            match event::poll(KEYS_PATIENCE) {
                Ok(false) => {}
                Ok(true) => {
                    let sent = event::read().is_ok_and(|event| sender.blocking_send(event).is_ok());
                    if !sent {
                        return;
                    }
                }
                // The terminal is gone.
                Err(_) => return,
            }
        }
    });
    (receiver, wanted)
}

/// Does what a key says. Returns whether the command goes on.
fn take_key(model: &mut Model, key: KeyEvent) -> bool {
    if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
        return false;
    }
    if let Some(filter) = &mut model.typing {
        match key.code {
            KeyCode::Enter => model.typing = None,
            KeyCode::Esc => {
                model.typing = None;
                model.filter.clear();
            }
            KeyCode::Backspace => {
                filter.pop();
                model.filter.clone_from(filter);
            }
            KeyCode::Char(letter) if !key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) => {
                filter.push(letter);
                model.filter.clone_from(filter);
            }
            _ => {}
        }
        return true;
    }
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => return false,
        KeyCode::Char('s') => model.sort = model.sort.next(1),
        KeyCode::Char('S') => model.sort = model.sort.next(Column::ALL.len() - 1),
        KeyCode::Char('r') => model.reversed = !model.reversed,
        KeyCode::Char('f') => model.only_wrong = !model.only_wrong,
        KeyCode::Char('/') => model.typing = Some(model.filter.clone()),
        KeyCode::Down => model.move_by(1),
        KeyCode::Up => model.move_by(-1),
        KeyCode::PageDown => model.move_by(20),
        KeyCode::PageUp => model.move_by(-20),
        _ => {}
    }
    true
}
