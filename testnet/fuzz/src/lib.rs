//! What a host, a client or a tool reads that others have written: each decoder as a function of bytes, for fuzzing.
//!
//! Each function panics where a property is broken: what is accepted is the same after encoding and decoding it again, and checks on what
//! was decoded return. [`try_input`] adds that the memory taken is in proportion to the input.
//!
//! | module | what it does |
//! |---|---|
//! | `decoders` | formats of bytes |
//! | `texts` | formats that are texts |
//! | `session` | a session of Cap'n Web |
//! | `guest` | values through a real guest |
//! | [`mutator`] | inputs by chance, without libFuzzer |
//! | [`allocations`] | counts what a thread allocates |
//! | [`corpus`] | inputs to begin with |

pub mod allocations;
pub mod corpus;
mod decoders;
mod guest;
pub mod mutator;
mod session;
mod texts;

/// Bytes that reading one input may take at most, beside [`BYTES_PER_BYTE`]: a decoder sets aside up to 1 MiB for a list before it has read
/// its entries (serde's rule), and lists are in lists.
pub(crate) const MEMORY: usize = 4 << 20;
/// The same for what a guest says. Its encoding is a part of the image, and believes lengths of up to 64 MiB; a guest that wants to take as much of its
/// host may do so anyway.
pub(crate) const GUEST_MEMORY: usize = 68 << 20;
/// Bytes that reading may take at most for each byte of the input: small encodings of large types.
const BYTES_PER_BYTE: usize = 1 << 10;

/// A decoder.
pub struct Decoder {
    pub name: &'static str,
    /// Where the bytes come from.
    pub from: &'static str,
    /// Returns whether the bytes were accepted.
    pub run: fn(&[u8]) -> bool,
    /// Bytes that reading may take at most where the input is short.
    pub memory: usize,
    /// How many runs take about as long as a thousand of the others.
    pub runs: usize,
}

/// All decoders.
pub fn all() -> Vec<Decoder> {
    [decoders::all(), texts::all(), guest::all()].into_iter().flatten().collect()
}

/// Reads one input.
///
/// # Panics
/// A property is broken.
pub fn try_input(decoder: &Decoder, input: &[u8]) -> bool {
    let (accepted, taken) = allocations::peak(|| (decoder.run)(input));
    let most = decoder.memory + BYTES_PER_BYTE * input.len();
    assert!(taken <= most, "{}: {} bytes of input took {taken} bytes of memory", decoder.name, input.len());
    accepted
}
