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
    comms::client::{ClientRef, ClientSession, Completion},
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
    let image = Image::load(&engine_cache()?)?;
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
        bundle: quorate_config::bundle::bundle(&own_file("bench-vats/counter.js"))?,
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
    counted(&mut machine, &mut session, WARM_UP * BATCH + sizes.engine_deliveries)?;
    Ok(median(samples))
}

/// Asks the vat how often it was called: all that was timed must have happened.
fn counted(machine: &mut Machine<Heap>, session: &mut ClientSession, wanted: u32) -> anyhow::Result<()> {
    session.call(ClientRef::Object(0), Method::Call("read".into()), &Value::Array(vec![]), &[])?;
    let (_, answers) = exchange(machine, session)?;
    let expected = Value::Number(wanted.into());
    ensure!(matches!(&answers[..], [answer] if answer.value == expected), "{answers:?} instead of {wanted}");
    Ok(())
}

/// One block of deliveries; the time that the machine took.
fn block(machine: &mut Machine<Heap>, session: &mut ClientSession, answered: bool) -> anyhow::Result<Duration> {
    let (note, no_arguments) = (Method::Call("note".into()), Value::Array(vec![]));
    for _ in 0..BATCH {
        if answered {
            session.call(ClientRef::Object(0), note.clone(), &no_arguments, &[])?;
        } else {
            session.send_only(ClientRef::Object(0), note.clone(), &no_arguments, &[])?;
        }
    }
    let (time, answers) = exchange(machine, session)?;
    ensure!(answers.len() == if answered { BATCH as usize } else { 0 }, "{} answers", answers.len());
    Ok(time)
}

/// Hands over what the session has said, and back what the machine answers; the time that the machine took.
fn exchange(machine: &mut Machine<Heap>, session: &mut ClientSession) -> anyhow::Result<(Duration, Vec<Completion>)> {
    let head = session.head();
    let (next, _) = machine.next_inbound(&CALLER);
    let messages = session.unacked().filter(|(number, _)| *number >= next).map(|(_, bytes)| bytes.to_vec()).collect();
    let deliver = Deliver { from: CALLER, begin: next, messages, end: head.end, ack: head.ack };
    let started = Instant::now();
    let result = machine.apply(Command::Deliver(deliver))?;
    let output = machine.end_block(false);
    let time = started.elapsed();
    ensure!(matches!(result, CommandResult::Delivered { .. }), "{result:?}");
    let [head] = output.heads[..] else { bail!("one stream, but {} heads", output.heads.len()) };
    let begin = output.queued.first().map_or(head.end, |(_, number, _)| *number);
    let messages = output.queued.into_iter().map(|(_, _, bytes)| bytes.to_vec()).collect();
    let back = Deliver { from: VAT, begin, messages, end: head.end, ack: head.ack };
    let answers = session.receive(&back).context("the machine's answers")?;
    ensure!(answers.iter().all(|answer| answer.fulfilled), "{answers:?}");
    Ok((time, answers))
}
