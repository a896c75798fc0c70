//! Asking a running daemon: where it listens, what is asked, what becomes of the answer.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use thiserror::Error;

use super::text::text_of;
use crate::output::fail;
use crate::socket::protocol::{Request, Response};
use crate::socket::{Client, ClientError};

/// Where the daemon listens.
#[derive(Clone, Debug, Args)]
pub struct Socket {
    /// The daemon's control socket
    #[arg(long = "socket", value_name = "PATH", default_value = "/run/sluice/control.sock")]
    pub path: PathBuf,
}

/// What a daemon is asked for and how the answer is shown.
#[derive(Clone, Debug, Args)]
pub struct Ask {
    /// Print the daemon's answer as it came, one JSON object
    #[arg(long)]
    pub(super) json: bool,

    /// Where to ask
    #[command(flatten)]
    pub(super) socket: Socket,
}

/// Why a command failed.
#[derive(Debug, Error)]
pub(super) enum Failure {
    /// There is no answer, or the daemon refused.
    #[error("{0}")]
    Daemon(#[from] ClientError),
    /// The answer could not be written out.
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
    /// What was to be done fits nothing, which was said already.
    #[error("nothing fits")]
    Nothing,
    /// Something else, in words.
    #[error("{0}")]
    Other(String),
}

/// The answer belongs to another question: the daemon is of another version.
pub(super) fn unexpected() -> Failure {
    Failure::Other("the daemon's answer is of another kind; is it of another version?".to_owned())
}

/// What the shell gets. A reader that has gone away (`sluice ... | head`) is no error.
pub(super) fn exit(done: Result<(), Failure>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(Failure::Nothing) => ExitCode::FAILURE,
        Err(failure) => fail(&failure.to_string()),
    }
}

impl Ask {
    /// `sluice ports`.
    pub fn ports(&self) -> ExitCode {
        self.show(&Request::Ports)
    }

    /// `sluice neighbours`.
    pub fn neighbours(&self) -> ExitCode {
        self.show(&Request::Neighbours)
    }

    /// `sluice drops`.
    pub fn drops(&self) -> ExitCode {
        self.show(&Request::Drops)
    }

    /// `sluice export`.
    pub fn export(&self) -> ExitCode {
        self.show(&Request::ExportStatus)
    }

    /// `sluice reload`.
    pub fn reload(&self) -> ExitCode {
        self.show(&Request::Reload)
    }

    /// Asks and shows the answer.
    pub(super) fn show(&self, request: &Request) -> ExitCode {
        exit(self.ask(request))
    }

    pub(super) fn ask(&self, request: &Request) -> Result<(), Failure> {
        self.print(&Client::connect(&self.socket.path)?.ask(request)?)
    }

    /// Shows an answer.
    pub(super) fn print(&self, answer: &Response) -> Result<(), Failure> {
        let text = match self.json {
            true => serde_json::to_string(answer).map_err(io::Error::from)? + "\n",
            false => text_of(answer),
        };
        Ok(io::stdout().write_all(text.as_bytes())?)
    }
}
