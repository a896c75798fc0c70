//! The client's end of the control socket.

use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::protocol::{Answer, Request};

/// A daemon that needs longer for one answer hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to a running daemon.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum ClientError {
    /// The daemon cannot be reached.
    Unreachable(PathBuf, io::Error),
    /// The connection broke, or what came is no answer.
    Broken(PathBuf, io::Error),
    /// The daemon refuses, and says why.
    Refused(String),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Unreachable(path, error) => {
                let path = path.display();
                match error.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => write!(
                        f,
                        "no daemon listens on {path}: start one with `sluice run -c FILE`, or name its socket with \
                         `--socket PATH` (control.socket in its configuration)"
                    ),
                    io::ErrorKind::PermissionDenied => write!(
                        f,
                        "{path} may not be opened: it is for its owner and group (`ls -l {path}` shows them)"
                    ),
                    _ => write!(f, "{path} cannot be opened: {error}"),
                }
            }
            ClientError::Broken(path, error) => write!(f, "{}: no answer: {error}", path.display()),
            ClientError::Refused(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for ClientError {}

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

    /// Asks, and waits for the answer, which is never [`Answer::Error`].
    ///
    /// # Errors
    /// The daemon refuses or goes away.
    pub fn ask(&mut self, request: &Request) -> Result<Answer, ClientError> {
        match self.exchange(request) {
            Ok(Answer::Error { message }) => Err(ClientError::Refused(message)),
            Ok(answer) => Ok(answer),
            Err(error) => Err(ClientError::Broken(self.path.clone(), error)),
        }
    }

    fn exchange(&mut self, request: &Request) -> io::Result<Answer> {
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
