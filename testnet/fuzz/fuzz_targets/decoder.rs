//! The target of libFuzzer, for each decoder: `QUORATE_DECODER` names it, or is `list`. `make fuzz` builds and runs it. With `QUORATE_SEEDS`, a
//! folder, it only writes what the decoder begins with.
#![no_main]

use quorate_fuzz::{Decoder, all, allocations::Counting, corpus, try_input};
use std::process::exit;
use std::sync::OnceLock;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static DECODER: OnceLock<Decoder> = OnceLock::new();

fn begin() {
    let name = std::env::var("QUORATE_DECODER").unwrap_or_default();
    if name == "list" {
        all().iter().for_each(|decoder| println!("decoder {}", decoder.name));
        exit(0);
    }
    let Some(decoder) = all().into_iter().find(|decoder| decoder.name == name) else {
        eprintln!("QUORATE_DECODER={name:?} names no decoder; QUORATE_DECODER=list lists them");
        exit(2);
    };
    if let Some(folder) = std::env::var_os("QUORATE_SEEDS").map(std::path::PathBuf::from) {
        for (number, input) in corpus::of(&decoder).iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number}")), input).expect("the folder is writable");
        }
        exit(0);
    }
    let _ = DECODER.set(decoder);
}

libfuzzer_sys::fuzz_target!(init: begin(), |data: &[u8]| {
    if let Some(decoder) = DECODER.get() {
        try_input(decoder, data);
    }
});
