//! The command line: flat verbs in one table, which drives both dispatch and help.
//!
//! A flag may be spelled `--data-dir` or `-data-dir`. Exit codes: 0 done, 1 failed while running, 2 wrong command line,
//! 3 refused to start (`Error::exit_code`); 128 + signal if a second signal ended `serve`.

mod init;
mod metrics;
mod quickstart;
mod serve;
mod status;

use crate::error::{Error, Result};
use clap::{ArgMatches, Args, Command, FromArgMatches};
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;

/// Where a verb writes its output.
pub type Out<'a> = &'a mut dyn Write;

/// A verb of the command line.
struct Verb {
    name: &'static str,
    group: &'static str,
    about: &'static str,
    flags: fn(Command) -> Command,
    run: fn(&ArgMatches, Out<'_>) -> Result<()>,
}

const GROUPS: [&str; 3] = ["run", "operate", "other"];

const VERBS: [Verb; 7] = [
    Verb {
        name: "init",
        group: "run",
        about: "Found a one-node cluster in a data directory",
        flags: init::Flags::augment_args,
        run: |matches, out| init::run(&flags(matches)?, out),
    },
    Verb {
        name: "serve",
        group: "run",
        about: "Serve a data directory until SIGTERM",
        flags: serve::Flags::augment_args,
        run: |matches, out| serve::run(flags(matches)?, out),
    },
    Verb {
        name: "quickstart",
        group: "run",
        about: "Found, make a credential and a bucket, serve, and print what to try",
        flags: quickstart::Flags::augment_args,
        run: |matches, out| quickstart::run(flags(matches)?, out),
    },
    Verb {
        name: "status",
        group: "operate",
        about: "Show members and what each core does",
        flags: status::Flags::augment_args,
        run: |matches, out| status::run(&flags(matches)?, out),
    },
    Verb {
        name: "metrics",
        group: "operate",
        about: "Print a running node's metrics in the Prometheus text format",
        flags: metrics::Flags::augment_args,
        run: |matches, out| metrics::run(&flags(matches)?, out),
    },
    Verb {
        name: "version",
        group: "other",
        about: "Print the version",
        flags: |command| command,
        run: version,
    },
    Verb {
        name: "help",
        group: "other",
        about: "Print this help, or a verb's",
        flags: |command| command.arg(clap::Arg::new("verb").help("The verb to explain")),
        run: help,
    },
];

/// Runs the verb that the arguments (without the program's name) ask for.
pub fn run(arguments: Vec<OsString>, out: Out<'_>) -> Result<()> {
    let arguments = std::iter::once(OsString::from("hamster")).chain(arguments.into_iter().map(two_dashes));
    let matches = match command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => return explain(&error, out),
    };
    if matches.get_flag("version") {
        return version(&matches, out);
    }
    match matches.subcommand() {
        Some((name, matches)) => (verb(name)?.run)(matches, out),
        None => help(&matches, out),
    }
}

/// Writes a line of output.
pub fn say(out: Out<'_>, text: std::fmt::Arguments<'_>) -> Result<()> {
    match writeln!(out, "{text}") {
        // A reader such as `head` may close the pipe early: no failure.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::failed(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

fn command() -> Command {
    let version = clap::Arg::new("version").long("version").short('V').action(clap::ArgAction::SetTrue);
    VERBS.iter().fold(
        Command::new("hamster")
            .override_help(overview())
            .disable_help_subcommand(true)
            .disable_version_flag(true)
            .arg(version),
        |command, verb| command.subcommand((verb.flags)(Command::new(verb.name).about(verb.about))),
    )
}

fn overview() -> String {
    let mut text = String::from("Hamster: an S3-compatible object store\n\nhamster VERB [FLAGS]\n");
    for group in GROUPS {
        text.push_str(&format!("\n{group}\n"));
        for verb in VERBS.iter().filter(|verb| verb.group == group) {
            text.push_str(&format!("  {:<12}{}\n", verb.name, verb.about));
        }
    }
    text.push_str("\n`hamster help VERB` shows a verb's flags. To begin: `hamster quickstart`.\n");
    text
}

fn verb(name: &str) -> Result<&'static Verb> {
    VERBS.iter().find(|verb| verb.name == name).ok_or_else(|| unknown(name))
}

fn unknown(name: &str) -> Error {
    Error::usage(format!("there is no verb '{name}': `hamster help` lists them"))
}

fn flags<F: FromArgMatches>(matches: &ArgMatches) -> Result<F> {
    F::from_arg_matches(matches).map_err(|error| Error::usage(first_paragraph(&error)))
}

fn version(_: &ArgMatches, out: Out<'_>) -> Result<()> {
    say(out, format_args!("hamster {}", env!("CARGO_PKG_VERSION")))
}

fn help(matches: &ArgMatches, out: Out<'_>) -> Result<()> {
    // The root command has no such argument; `get_one` would panic there.
    match matches.try_get_one::<String>("verb").ok().flatten() {
        None => say(out, format_args!("{}", overview().trim_end())),
        Some(name) => {
            let verb = verb(name)?;
            let mut command = (verb.flags)(Command::new(verb.name).about(verb.about))
                .bin_name(format!("hamster {}", verb.name));
            say(out, format_args!("{}", command.render_long_help().to_string().trim_end()))
        }
    }
}

/// Prints the help that `--help` asked for; turns any other message of clap into a one-line error.
fn explain(error: &clap::Error, out: Out<'_>) -> Result<()> {
    use clap::error::{ContextKind, ErrorKind};
    match error.kind() {
        ErrorKind::DisplayHelp => say(out, format_args!("{}", error.render().to_string().trim_end())),
        ErrorKind::InvalidSubcommand => match error.get(ContextKind::InvalidSubcommand) {
            Some(name) => Err(unknown(&name.to_string())),
            None => Err(Error::usage(first_paragraph(error))),
        },
        _ => Err(Error::usage(format!("{} (`hamster help VERB` shows the flags)", first_paragraph(error)))),
    }
}

fn first_paragraph(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let words: Vec<&str> = text.split("\n\n").next().unwrap_or_default().split_whitespace().collect();
    words.join(" ")
}

/// Turns `-data-dir` into `--data-dir`; `-h`, `-1` and plain words stay as they are.
fn two_dashes(argument: OsString) -> OsString {
    match argument.as_bytes() {
        [b'-', first, _, ..] if first.is_ascii_alphabetic() => {
            let mut longer = OsString::from("-");
            longer.push(&argument);
            longer
        }
        _ => argument,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_makes_a_valid_command_and_every_verb_has_a_known_group() {
        command().debug_assert();
        assert!(VERBS.iter().all(|verb| GROUPS.contains(&verb.group)));
    }

    #[test]
    fn a_single_dash_stands_for_two() {
        for (given, taken) in
            [("-data-dir", "--data-dir"), ("-h", "-h"), ("--s3", "--s3"), ("-1", "-1"), ("x", "x")]
        {
            assert_eq!(two_dashes(OsString::from(given)), OsString::from(taken));
        }
        assert_eq!(two_dashes("-data-dir=x".into()), OsString::from("--data-dir=x"));
    }

    #[test]
    fn help_names_every_verb() {
        let mut out = Vec::new();
        run(vec![], &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(VERBS.iter().all(|verb| text.contains(verb.name)), "{text}");
    }
}
