//! What every command writes to the terminal: its result to standard output, and everything else to standard error.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use crate::config::ConfigError;

/// Writes to standard output. A reader that has gone away (`sluice ... | head`) is no error.
pub fn print(text: &str) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            fail(&format!("cannot write: {error}"))
        }
        _ => ExitCode::SUCCESS,
    }
}

/// Says what went wrong. What a daemon says of its configuration is written out as [`refuse`] does.
pub fn fail(text: &str) -> ExitCode {
    match text.starts_with("error: ") {
        true => say(text),
        false => say(&format!("sluice: {text}")),
    }
    ExitCode::FAILURE
}

/// Shows everything that is wrong with a configuration.
pub fn refuse(error: &ConfigError) -> ExitCode {
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    say(&error.render(colour));
    ExitCode::FAILURE
}

/// Writes a line to standard error, if anybody still reads it.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
