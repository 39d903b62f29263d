//! Hamster: an S3-compatible object store in one binary.
//!
//! A verb of [`cli`] turns the command line into a checked [`config::Config`]; [`startup`] checks the machine;
//! [`node`] runs the node.

#![forbid(unsafe_code)]

mod accept;
mod access_log;
mod admin;
mod checks;
mod cli;
mod cluster;
mod config;
mod core;
mod credentials;
mod data_dir;
mod error;
mod files;
mod identity;
mod latch;
mod metrics;
mod node;
mod record;
mod report;
mod signals;
mod startup;
mod status;
mod tls;

use std::io::Write;
use std::process::ExitCode;

/// Keeps freed buffers mapped, where the system's allocator would page-fault each large one anew.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = std::env::args_os().skip(1).collect();
    match cli::run(arguments, &mut std::io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where standard error is closed there is nobody left to tell.
            let _ = writeln!(std::io::stderr(), "hamster: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
