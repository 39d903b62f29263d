//! Runs whole nodes in a simulated world, seed by seed. Built with `--cfg sim`; see `README.md` beside this file.

#![forbid(unsafe_code)]

#[cfg(sim)]
mod check;
#[cfg(sim)]
mod client;
#[cfg(sim)]
mod history;
#[cfg(sim)]
mod machine;
#[cfg(sim)]
mod reach;
#[cfg(sim)]
mod runner;
#[cfg(sim)]
mod scenario;
#[cfg(sim)]
mod sign;
#[cfg(sim)]
mod value;
#[cfg(sim)]
mod workload;

use std::process::ExitCode;

#[cfg(sim)]
fn main() -> ExitCode {
    runner::main()
}

#[cfg(not(sim))]
fn main() -> ExitCode {
    use std::io::Write;
    let _ = writeln!(
        std::io::stderr(),
        "hamster-sim: build it with RUSTFLAGS=\"--cfg sim\", as tests/sim/run does"
    );
    ExitCode::FAILURE
}
