//! The engine alone: a machine with a heap of the production image, no agreement, no network, no disk.
//!
//! A client's session stands for the other vat, so that tables and streams do the work that they do in production: results are
//! settled, and what was heard is acknowledged with the next batch.

use super::{Figure, Promise, Sizes, median};
use crate::process::own_file;
use anyhow::{Context, bail, ensure};
use quorate_engine::{
    Machine, VatId,
    abi::{Method, Value},
    comms::client::{ClientRef, ClientSession},
    heap::{Heap, Limits, with_engine_stack},
    image::Image,
    machine::{Command, CommandResult, Deliver, Install},
};
use quorate_node::run::engine_cache;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Deliveries in a block.
const BATCH: u32 = 100;
/// Batches before anything is timed.
const WARM_UP: u32 = 10;
const VAT: VatId = VatId([1; 32]);
const CALLER: VatId = VatId([2; 32]);

/// Measures empty deliveries, without and with an answer.
pub fn measure(sizes: Sizes) -> anyhow::Result<Vec<Figure>> {
    let image = Image::load(&engine_cache())?;
    with_engine_stack(|| {
        let one_way = delivery(&image, sizes, false)?;
        let answered = delivery(&image, sizes, true)?;
        let note =
            |micros: f64| format!("{:.0} a second; {} in blocks of {BATCH}", 1e6 / micros, sizes.engine_deliveries);
        Ok(vec![
            Figure::new("empty delivery in the engine", one_way, "µs")
                .promised(Promise::Under(30.0))
                .note(note(one_way)),
            Figure::new("empty delivery with an answer", answered, "µs").note(note(answered)),
        ])
    })
}

/// Microseconds for one delivery; the median over the blocks.
fn delivery(image: &Arc<Image>, sizes: Sizes, answered: bool) -> anyhow::Result<f64> {
    let mut machine = Machine::for_image(VAT, image.clone(), Limits::default())?;
    let install = Install {
        bundle: quorate_node::bundle::bundle(&own_file("bench-vats/counter.js"))?,
        argv: vec![],
        endowments: vec![],
        grants: vec![CALLER],
        bearers: vec![],
    };
    let installed = machine.apply(Command::Install(install))?;
    ensure!(installed == CommandResult::Installed, "{installed:?}");
    machine.end_block(false);
    let mut session = ClientSession::new(CALLER, VAT);
    let mut samples = Vec::new();
    for batch in 0..WARM_UP + sizes.engine_deliveries / BATCH {
        let time = block(&mut machine, &mut session, answered)?;
        if batch >= WARM_UP {
            samples.push(time.as_secs_f64() * 1e6 / f64::from(BATCH));
        }
    }
    Ok(median(samples))
}

/// One block of deliveries; the time that the machine took.
fn block(machine: &mut Machine<Heap>, session: &mut ClientSession, answered: bool) -> anyhow::Result<Duration> {
    let (nothing, no_arguments) = (Method::Call("nothing".into()), Value::Array(vec![]));
    for _ in 0..BATCH {
        if answered {
            session.call(ClientRef::Object(0), nothing.clone(), &no_arguments, &[])?;
        } else {
            session.send_only(ClientRef::Object(0), nothing.clone(), &no_arguments, &[])?;
        }
    }
    let head = session.head();
    let (next, _) = machine.next_inbound(&CALLER);
    let messages = session.unacked().filter(|(number, _)| *number >= next).map(|(_, bytes)| bytes.to_vec()).collect();
    let deliver = Deliver { from: CALLER, begin: next, messages, end: head.end, ack: head.ack };
    let started = Instant::now();
    let result = machine.apply(Command::Deliver(deliver))?;
    let output = machine.end_block(false);
    let time = started.elapsed();
    ensure!(matches!(result, CommandResult::Delivered { .. }), "{result:?}");
    ensure!(output.cranks.len() == BATCH as usize, "{} deliveries of {BATCH}", output.cranks.len());
    let [head] = output.heads[..] else { bail!("one stream, but {} heads", output.heads.len()) };
    let (queued, acknowledged) = (output.queued, head.ack);
    let begin = queued.first().map_or(head.end, |(_, number, _)| *number);
    let messages: Vec<Vec<u8>> = queued.into_iter().map(|(_, _, bytes)| bytes.to_vec()).collect();
    let back = Deliver { from: VAT, begin, messages, end: head.end, ack: acknowledged };
    let completions = session.receive(&back).context("the machine's answers")?;
    let answers = completions.iter().filter(|completion| completion.fulfilled).count();
    ensure!(answers == if answered { BATCH as usize } else { 0 }, "{answers} answers");
    Ok(time)
}
