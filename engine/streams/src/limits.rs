//! The limits of what two vats, or a vat and a client, keep for one another. Both sides of a pair use the same figures.

/// Most unacknowledged messages to one peer; a send beyond is refused. Settlements are not counted: each was asked for.
pub const MAX_UNACKED_MESSAGES: u64 = 16_384;
/// Most unacknowledged bytes to one peer; a send beyond is refused, a settlement beyond becomes a short rejection.
pub const MAX_UNACKED_BYTES: u64 = 64 << 20;
/// Most promises of one pair of vats whose id this vat gave. A peer is believed up to twice that: it may have learned of
/// settlements whose acknowledgement is still under way.
pub const MAX_PROMISES: usize = 65_536;
/// Most objects that this vat exports to one peer, and imports from one.
pub const MAX_OBJECTS: usize = 262_144;
