//! Testnets and homes of hosts: a config, the homes made from it, and its hosts as processes of this machine.
//!
//! | module | uses | holds |
//! |---|---|---|
//! | [`cache`] | | where a user keeps what can be made again |
//! | [`bundle`] | | the code of a vat, from its files |
//! | [`testnet`] | `bundle` | what people write, a testnet's config and a host's, checked with line and column |
//! | [`home`] | `testnet` | the folder of one host |
//! | [`layout`] | | where what lies in a testnet's folder |
//! | [`provision`] | | vats that a host is to carry, as files in its home |
//! | [`digest`] | `testnet` | whether a testnet is still what its config says |
//! | [`ports`] | `cache` | ports of loopback that no other testnet has |
//! | [`init`] | `bundle`, `digest`, `home`, `layout`, `ports`, `provision`, `testnet` | makes a testnet |
//! | [`cluster`] | `home`, `layout` | its hosts as processes |

pub mod bundle;
pub mod cache;
pub mod cluster;
pub mod home;
pub mod init;
pub mod layout;
pub mod provision;
pub mod testnet;

mod digest;
mod ports;
mod prometheus;
