//! The formats that hosts, clients and tools share: commands, slices and their answers, evidence and files of
//! proofs, references, cards, provisions and reports. Only formats and their checks: nothing here waits, opens a connection or keeps a file.
//!
//! | module | uses | holds |
//! |---|---|---|
//! | [`codec`] | | the one encoding of all of it |
//! | [`exact_json`] | | parses JSON without changing it |
//! | [`names`] | | names that are fit for files, folders and command lines |
//! | [`moment`] | | moments of a vat's log, in words and back |
//! | [`sturdyref`] | | references to objects, as text |
//! | [`recovered`], [`standstill`] | | words for two states of a vat |
//! | [`status`] | | a host's report on itself and its vats |
//! | [`disk`] | `status` | use of a host's disk, and its owner's limits |
//! | [`address_record`] | | where a host can be dialled, signed by it and numbered |
//! | [`card`] | `names` | a host's name, key and addresses, for partners |
//! | [`authority`] | `codec` | authority to install code and to change access |
//! | [`evidence`] | | slices, outboxes, and their proofs |
//! | [`published`] | | published data, and its proofs |
//! | [`proof`] | `codec`, `evidence`, `published`, `recovered` | files of proofs for readers that know a VatId |
//! | [`provision`] | `authority` | the data that a host needs to carry a vat |
//! | [`upgrade`] | `authority`, `codec` | upgrades, and their approval by owners |
//! | [`command`] | `authority`, `evidence`, `upgrade` | commands of a vat's log, and their results |
//! | [`relay`] | `codec` | frames between a client that can't dial and the host that carries its frames |
//! | [`wire`] | `address_record`, `evidence`, `published` | frames between hosts |

pub mod address_record;
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
