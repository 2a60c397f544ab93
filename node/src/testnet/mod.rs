//! Testnets: a config, and the hosts it describes.

pub mod config;
