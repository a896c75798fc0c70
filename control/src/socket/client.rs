//! The client's end of the control socket.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use super::protocol::{Request, Response};

/// A daemon that needs longer for one answer hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to a running daemon.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The daemon cannot be reached.
    #[error("{}", unreachable(.0, .1))]
    Unreachable(PathBuf, io::Error),
    /// The connection broke, or what came is no answer.
    #[error("{}: no answer: {}", .0.display(), .1)]
    Broken(PathBuf, io::Error),
    /// The daemon refuses, and says why.
    #[error("{0}")]
    Refused(String),
}

/// Why the daemon cannot be reached, and what helps.
fn unreachable(path: &Path, error: &io::Error) -> String {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => format!(
            "no daemon listens on {path}: start one with `sluice run -c FILE`, or name its socket with \
             `--socket PATH` (control.socket in its configuration)"
        ),
        io::ErrorKind::PermissionDenied => {
            format!("{path} may not be opened: it is for its owner and group (`ls -l {path}` shows them)")
        }
        _ => format!("{path} cannot be opened: {error}"),
    }
}

impl Client {
    /// Connects to the daemon that listens at `path`.
    ///
    /// # Errors
    /// Nobody listens there, or this user may not ask.
    pub fn connect(path: &Path) -> Result<Client, ClientError> {
        let connected = UnixStream::connect(path).and_then(|stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(BufReader::new(stream))
        });
        match connected {
            Ok(stream) => Ok(Client { path: path.to_owned(), stream }),
            Err(error) => Err(ClientError::Unreachable(path.to_owned(), error)),
        }
    }

    /// Asks, and waits for the answer, which is never [`Response::Error`].
    ///
    /// # Errors
    /// The daemon refuses or goes away.
    pub fn ask(&mut self, request: &Request) -> Result<Response, ClientError> {
        match self.exchange(request) {
            Ok(Response::Error { message }) => Err(ClientError::Refused(message)),
            Ok(answer) => Ok(answer),
            Err(error) => Err(ClientError::Broken(self.path.clone(), error)),
        }
    }

    fn exchange(&mut self, request: &Request) -> io::Result<Response> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        // A daemon that turns us away may have closed already, and yet have said why.
        let written = self.stream.get_mut().write_all(&line);
        line.clear();
        match self.stream.read_until(b'\n', &mut line) {
            Ok(length) if length > 0 => Ok(serde_json::from_slice(&line)?),
            Ok(_) => {
                written?;
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the daemon went away"))
            }
            Err(error) => Err(written.err().unwrap_or(error)),
        }
    }
}
