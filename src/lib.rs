//! Hamster: an S3-compatible object store in one binary.
//!
//! A verb of [`cli`] turns the command line into a checked `config::Config`; `startup` checks the machine; [`node`]
//! runs the node, and [`core`] is the life of each of its cores.

#![forbid(unsafe_code)]

mod accept;
mod access_log;
mod admin;
mod checks;
pub mod cli;
mod cluster;
pub mod config;
pub mod core;
pub mod cpus;
pub mod credentials;
pub mod data_dir;
mod error;
mod files;
mod identity;
pub mod latch;
pub mod metrics;
pub mod node;
mod record;
mod report;
mod signals;
mod startup;
mod status;
mod tls;
