//! Testnets: a config, the homes made from it, and its hosts as processes of this machine.

pub mod cluster;
pub mod config;
mod digest;
pub mod init;
pub mod layout;
