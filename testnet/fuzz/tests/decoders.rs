//! Each decoder, briefly: what it begins with, and inputs that come from it by chance.

use quorate_fuzz::allocations::Counting;
use quorate_fuzz::mutator::Mutator;
use quorate_fuzz::{Decoder, all, corpus, try_input};
use std::panic::{AssertUnwindSafe, catch_unwind};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Inputs made of each decoder's own, in thousands; `QUORATE_FUZZ_THOUSANDS` takes another number.
const THOUSANDS: usize = 4;
const SEED: u64 = 14;

/// Reads an input, and says on failure which one it was.
fn tried(decoder: &Decoder, input: &[u8]) -> bool {
    catch_unwind(AssertUnwindSafe(|| try_input(decoder, input))).unwrap_or_else(|_| {
        panic!("{}: put this input into corpus/{}.txt, and mend it: {}", decoder.name, decoder.name, hex::encode(input))
    })
}

#[test]
fn decoders_withstand_what_comes() {
    let thousands =
        std::env::var("QUORATE_FUZZ_THOUSANDS").ok().and_then(|text| text.parse().ok()).unwrap_or(THOUSANDS);
    let only = std::env::var("QUORATE_DECODER").ok();
    for decoder in all().iter().filter(|decoder| only.as_ref().is_none_or(|only| only == decoder.name)) {
        let seeds = corpus::of(decoder);
        let whole = seeds.iter().filter(|seed| tried(decoder, seed)).count();
        let mut mutator = Mutator::new(SEED, seeds);
        let runs = thousands * decoder.runs;
        let accepted = (0..runs).filter(|_| tried(decoder, &mutator.next_input())).count();
        println!("{:24} {whole:4} whole seeds, {accepted:7} of {runs} inputs accepted", decoder.name);
    }
}

#[test]
fn kept_inputs_are_few_and_small() {
    let names: Vec<&str> = all().iter().map(|decoder| decoder.name).collect();
    let entries = std::fs::read_dir(corpus::file("x").parent().expect("a folder")).expect("the corpus");
    for entry in entries {
        let path = entry.expect("a file").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        assert!(names.contains(&name.as_str()), "{name} is no decoder");
        assert!(path.metadata().expect("a file").len() <= 64 << 10, "{name}: keep fewer inputs, or smaller ones");
    }
}

/// The check would see what it is for.
#[test]
fn what_takes_too_much_memory_is_seen() {
    let greedy = |bytes: &[u8]| Vec::<u8>::with_capacity(bytes.len() << 20).capacity() > 0;
    let decoder = Decoder { name: "greedy", from: "a test", run: greedy, memory: 1 << 20, runs: 0 };
    assert!(try_input(&decoder, &[0; 1]));
    assert!(catch_unwind(AssertUnwindSafe(|| try_input(&decoder, &[0; 64]))).is_err());
}
