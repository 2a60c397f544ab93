//! What hosts, clients and tools say to one another about vats and hand to people: commands, slices and their answers, evidence and files of
//! proofs, references, cards, provisions and reports. Formats and their checks alone: nothing here waits, opens a connection or keeps a file.
//!
//! | module | uses | holds |
//! |---|---|---|
//! | [`codec`] | | the one encoding of all of it |
//! | [`exact_json`] | | JSON that arrives as it was written, from people and programs |
//! | [`names`] | | which names are fit for files, folders and command lines |
//! | [`moment`] | | moments of a vat's log, in words and back |
//! | [`sturdyref`] | | references to objects, as text |
//! | [`recovered`], [`standstill`] | | words for two states of a vat |
//! | [`status`] | | what a host reports of itself and its vats |
//! | [`disk`] | `status` | what takes a host's disk, and the limits that its owner sets |
//! | [`card`] | `names` | a host's name, key and addresses, for whoever is to name it in a config |
//! | [`authority`] | `codec` | who may install code and change access |
//! | [`evidence`] | | slices, outboxes, and what proves them |
//! | [`published`] | | what a vat publishes, and what proves it to anybody |
//! | [`proof`] | `codec`, `evidence`, `published`, `recovered` | files that prove something to whoever knows a VatId |
//! | [`provision`] | `authority` | what a host needs to carry a vat |
//! | [`upgrade`] | `authority`, `codec` | what owners approve of when a vat is upgraded |
//! | [`command`] | `authority`, `evidence`, `upgrade` | what a vat's log orders, and what comes of it |
//! | [`relay`] | `codec` | what a client that can't dial says to the host that carries its frames |
//! | [`wire`] | `evidence`, `published` | frames between hosts |

pub mod authority;
pub mod card;
pub mod codec;
pub mod command;
pub mod disk;
pub mod evidence;
pub mod exact_json;
pub mod moment;
pub mod names;
pub mod proof;
pub mod provision;
pub mod published;
pub mod recovered;
pub mod relay;
pub mod standstill;
pub mod status;
pub mod sturdyref;
pub mod upgrade;
pub mod wire;
