//! The daemon's end: a thread that accepts, and one for each client.
//!
//! A client's thread reads a line, hands the request to whoever serves it and writes the answer. A slow client, or
//! one that talks nonsense, keeps nobody waiting but itself, and its slot only as long as nobody else wants it.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use thiserror::Error;

use super::MAX_REQUEST_BYTES;
use super::clients::{ClientSlot, Clients};
use super::protocol::{Request, Response};

/// How long a client has for a whole request, and again for taking the whole answer, however it spreads its bytes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Root and the group may ask; nobody else.
const SOCKET_MODE: u32 = 0o660;
const DIRECTORY_MODE: u32 = 0o750;

/// A request that waits for its answer.
#[derive(Debug)]
pub struct Call {
    /// What is asked.
    pub request: Request,
    /// Where the answer goes. It holds one, so sending it never waits.
    pub reply: SyncSender<Response>,
}

/// The socket, until it is dropped.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    /// The directory, where it had to be made.
    made: Option<PathBuf>,
}

/// Why there is no socket.
#[derive(Debug, Error)]
pub enum SocketError {
    /// Somebody answers there.
    #[error(
        "control socket {}: another sluice listens there; stop it, or choose another path under control.socket",
        .0.display()
    )]
    InUse(PathBuf),
    /// Something that is not a socket is there.
    #[error("control socket {}: a file that is no socket is in the way", .0.display())]
    NotASocket(PathBuf),
    /// The system says no.
    #[error("control socket {}: {}", .0.display(), .1)]
    Io(PathBuf, io::Error),
}

impl Server {
    /// Listens at `path` and passes every request to `serve`, which says whether it still takes some.
    ///
    /// A socket that a dead process left is replaced; the directory is made if there is none.
    ///
    /// # Errors
    /// Somebody listens there, another kind of file is there, or the system refuses.
    pub fn start<F>(path: &Path, serve: F) -> Result<Server, SocketError>
    where
        F: Fn(Call) -> bool + Send + Sync + 'static,
    {
        Server::start_for(PATIENCE, path, serve)
    }

    fn start_for<F>(patience: Duration, path: &Path, serve: F) -> Result<Server, SocketError>
    where
        F: Fn(Call) -> bool + Send + Sync + 'static,
    {
        let failed = |error| SocketError::Io(path.to_owned(), error);
        let made = make_directory(path).map_err(failed)?;
        let listener = match check_free(path).and_then(|()| bind(path).map_err(failed)) {
            Ok(listener) => listener,
            Err(error) => {
                remove_directory(made.as_deref());
                return Err(error);
            }
        };
        let server = Server { path: path.to_owned(), made };
        let run = move || accept(&listener, patience, &Arc::new(serve));
        thread::Builder::new().name("control-accept".to_owned()).spawn(run).map_err(failed)?;
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Whoever is connected keeps the connection until the process ends.
        let _ = fs::remove_file(&self.path);
        remove_directory(self.made.as_deref());
    }
}

fn make_directory(path: &Path) -> io::Result<Option<PathBuf>> {
    match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() && !directory.exists() => {
            fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory)?;
            Ok(Some(directory.to_owned()))
        }
        _ => Ok(None),
    }
}

/// Takes away the directory that was made, unless somebody has put something there.
fn remove_directory(made: Option<&Path>) {
    if let Some(directory) = made {
        let _ = fs::remove_dir(directory);
    }
}

fn check_free(path: &Path) -> Result<(), SocketError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(SocketError::Io(path.to_owned(), error)),
        Ok(found) if !found.file_type().is_socket() => Err(SocketError::NotASocket(path.to_owned())),
        Ok(_) => match UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            Err(error) => Err(SocketError::Io(path.to_owned(), error)),
            Ok(_) => Err(SocketError::InUse(path.to_owned())),
        },
    }
}

/// The socket gets its mode under another name: by its own, nobody ever finds it with a wrong one. Renaming also
/// replaces what a dead process left.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let mut nascent = path.as_os_str().to_owned();
    nascent.push(".new");
    let nascent = PathBuf::from(nascent);
    match fs::remove_file(&nascent) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&nascent)?;
    let named = fs::set_permissions(&nascent, fs::Permissions::from_mode(SOCKET_MODE))
        .and_then(|()| fs::rename(&nascent, path));
    if let Err(error) = named {
        let _ = fs::remove_file(&nascent);
        return Err(error);
    }
    Ok(listener)
}

fn accept<F>(listener: &UnixListener, patience: Duration, serve: &Arc<F>)
where
    F: Fn(Call) -> bool + Send + Sync + 'static,
{
    let clients = Arc::new(Clients::default());
    loop {
        let Ok((stream, _)) = listener.accept() else {
            // Out of descriptors, most likely: some client is to leave first.
            thread::sleep(Duration::from_millis(100));
            continue;
        };
        let stream = Arc::new(stream);
        let slot = clients.admit(&stream);
        let serve = Arc::clone(serve);
        let client = move || {
            // A client that has gone away is no error of ours.
            let _ = attend(&stream, patience, &slot, &*serve);
        };
        // Without a thread the stream is closed, which tells the client.
        let _ = thread::Builder::new().name("control-client".to_owned()).spawn(client);
    }
}

/// A stream with a time by which all is to be read or written.
struct Timed<'a> {
    stream: &'a UnixStream,
    until: Instant,
}

impl Timed<'_> {
    /// What is left of the time; a timeout of zero would be none.
    fn left(&self) -> io::Result<Option<Duration>> {
        match self.until.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
            left => Ok(Some(left)),
        }
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        self.stream.read(into)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

fn attend(
    stream: &UnixStream,
    patience: Duration,
    slot: &ClientSlot,
    serve: &impl Fn(Call) -> bool,
) -> io::Result<()> {
    let mut reader = BufReader::new(Timed { stream, until: Instant::now() });
    let mut line = Vec::new();
    loop {
        line.clear();
        reader.get_mut().until = Instant::now() + patience;
        let most = MAX_REQUEST_BYTES as u64;
        if reader.by_ref().take(most).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let too_long = line.len() == MAX_REQUEST_BYTES && line.last() != Some(&b'\n');
        let answer = match too_long {
            true => Response::Error { message: format!("a request has at most {MAX_REQUEST_BYTES} bytes") },
            false => slot.serve(|| answer(&line, serve)),
        };
        Timed { stream, until: Instant::now() + patience }.write_all(&answer.line())?;
        if too_long {
            return Ok(());
        }
    }
}

fn answer(line: &[u8], serve: &impl Fn(Call) -> bool) -> Response {
    let request = match serde_json::from_slice(line) {
        Ok(request) => request,
        Err(error) => return Response::Error { message: format!("not a request: {error}") },
    };
    let (reply, answers) = mpsc::sync_channel(1);
    let taken = serve(Call { request, reply });
    match answers.recv() {
        Ok(answer) if taken => answer,
        _ => Response::Error { message: "the daemon is stopping".to_owned() },
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Client, MAX_CLIENTS, protocol::Cursor};
    use super::*;

    /// A directory of its own, gone with the test.
    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Directory {
            let path = std::env::temp_dir().join(format!("sluice-socket-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Directory(path)
        }

        fn socket(&self) -> PathBuf {
            self.0.join("control.sock")
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// Counts: answers that there are 7 entries, and nothing else.
    fn counts(call: Call) -> bool {
        let answer = match call.request {
            Request::Count => Response::Count { entries: 7 },
            _ => Response::Error { message: "only counts".to_owned() },
        };
        call.reply.send(answer).is_ok()
    }

    fn exchange(path: &Path, bytes: &[u8]) -> String {
        let mut stream = UnixStream::connect(path).unwrap();
        // What is said after the line that ends the talk may be refused already.
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text);
        text
    }

    #[test]
    fn requests_are_answered_one_by_one() {
        let directory = Directory::new("answers");
        let _server = Server::start(&directory.socket(), counts).unwrap();
        let mut client = Client::connect(&directory.socket()).unwrap();
        for _ in 0..3 {
            assert_eq!(client.ask(&Request::Count).unwrap(), Response::Count { entries: 7 });
        }
        let entries = Request::Entries { filter: Default::default(), format: None, from: Cursor::default() };
        assert_eq!(client.ask(&entries).unwrap_err().to_string(), "only counts");
    }

    #[test]
    fn nonsense_gets_an_error_and_the_talk_goes_on() {
        let directory = Directory::new("nonsense");
        let _server = Server::start(&directory.socket(), counts).unwrap();
        let said =
            exchange(&directory.socket(), b"\xff\x00{{{\n\n{\"request\":\"count\"}\n{\"request\":\"count\"");
        let answers: Vec<Response> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(matches!(&answers[..2], [Response::Error { .. }, Response::Error { .. }]));
        assert_eq!(answers[2], Response::Count { entries: 7 });
        assert!(matches!(answers[3], Response::Error { .. }), "a cut-off line is no request");
    }

    #[test]
    fn an_endless_line_ends_the_talk() {
        let directory = Directory::new("endless");
        let _server = Server::start(&directory.socket(), counts).unwrap();
        let said = exchange(&directory.socket(), &vec![b'x'; MAX_REQUEST_BYTES]);
        assert!(said.contains("at most 16384 bytes") && said.lines().count() == 1, "{said}");
    }

    fn count(path: &Path) -> Response {
        Client::connect(path).unwrap().ask(&Request::Count).unwrap()
    }

    #[test]
    fn silent_clients_lock_nobody_out() {
        let directory = Directory::new("silent");
        let _server = Server::start(&directory.socket(), counts).unwrap();
        let mut silent: Vec<UnixStream> = Vec::new();
        for number in 0..MAX_CLIENTS {
            silent.push(UnixStream::connect(directory.socket()).unwrap());
            // One says nothing, the next begins a request and leaves it at that.
            silent[number].write_all(&b"{"[..number % 2]).unwrap();
        }
        for _ in 0..2 * MAX_CLIENTS {
            assert_eq!(count(&directory.socket()), Response::Count { entries: 7 });
        }
        let mut said = String::new();
        silent[0].read_to_string(&mut said).unwrap();
        assert!(said.contains("idle for longest"), "{said}");
    }

    #[test]
    fn a_client_that_asks_keeps_its_place() {
        let directory = Directory::new("keeps");
        let _server = Server::start(&directory.socket(), counts).unwrap();
        let mut asks = Client::connect(&directory.socket()).unwrap();
        let mut silent = Vec::new();
        for _ in 0..3 * MAX_CLIENTS {
            // Its answer tells that the latecomer has its slot already, however late the thread that accepts is.
            let mut latecomer = Client::connect(&directory.socket()).unwrap();
            assert_eq!(latecomer.ask(&Request::Count).unwrap(), Response::Count { entries: 7 });
            silent.push(latecomer);
            assert_eq!(asks.ask(&Request::Count).unwrap(), Response::Count { entries: 7 });
        }
    }

    #[test]
    fn a_request_that_drips_in_has_its_time_and_no_more() {
        let directory = Directory::new("drip");
        let _server = Server::start_for(Duration::from_millis(500), &directory.socket(), counts).unwrap();
        let mut stream = UnixStream::connect(directory.socket()).unwrap();
        // Each byte comes well within the time, and all that a request may have well beyond it.
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let gone =
            (0..1000).any(|_| stream.write_all(b"{").is_err() || matches!(stream.read(&mut [0]), Ok(0)));
        assert!(gone, "it still has its slot");
    }

    #[test]
    fn a_client_that_does_not_listen_harms_nobody() {
        let directory = Directory::new("deaf");
        let _server = Server::start(&directory.socket(), counts).unwrap();
        let mut deaf = UnixStream::connect(directory.socket()).unwrap();
        deaf.set_write_timeout(Some(Duration::from_millis(50))).unwrap();
        // Until the answers that nobody reads have filled the way back, and then the way there.
        while deaf.write_all(&b"{\"request\":\"count\"}\n".repeat(1000)).is_ok() {}
        assert_eq!(count(&directory.socket()), Response::Count { entries: 7 });
    }

    #[test]
    fn the_socket_is_for_owner_and_group_and_goes_with_the_server() {
        let directory = Directory::new("mode");
        let path = directory.0.join("made/control.sock");
        let server = Server::start(&path, counts).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        assert!(matches!(Server::start(&path, counts), Err(SocketError::InUse(_))));
        drop(server);
        assert!(!path.parent().unwrap().exists());
        let too_long = directory.0.join("made").join("x".repeat(200));
        assert!(matches!(Server::start(&too_long, counts), Err(SocketError::Io(..))));
        assert!(!path.parent().unwrap().exists(), "what does not begin leaves nothing behind");
    }

    #[test]
    fn a_dead_socket_is_replaced_and_another_file_is_not() {
        let directory = Directory::new("stale");
        drop(UnixListener::bind(directory.socket()).unwrap());
        let server = Server::start(&directory.socket(), counts).unwrap();
        assert!(Client::connect(&directory.socket()).unwrap().ask(&Request::Count).is_ok());
        drop(server);
        fs::write(directory.socket(), "precious").unwrap();
        let error = Server::start(&directory.socket(), counts).unwrap_err();
        assert!(matches!(error, SocketError::NotASocket(_)));
        assert_eq!(fs::read_to_string(directory.socket()).unwrap(), "precious");
    }

    #[test]
    fn requests_after_the_end_are_refused() {
        let directory = Directory::new("end");
        let _server = Server::start(&directory.socket(), |_| false).unwrap();
        let error = Client::connect(&directory.socket()).unwrap().ask(&Request::Count).unwrap_err();
        assert_eq!(error.to_string(), "the daemon is stopping");
    }
}
