//! The binary: the command line, and the allocator.

#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;

/// Keeps freed buffers mapped, where the system's allocator would page-fault each large one anew.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = std::env::args_os().skip(1).collect();
    match hamster::cli::run(arguments, &mut std::io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If standard error is closed, there is nobody left to tell.
            let _ = writeln!(std::io::stderr(), "hamster: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
