//! As much HTTP as Prometheus needs to fetch a page (RFC 9112): a request, its answer, and the connection is closed.
//!
//! A client that is slow, silent or talks nonsense has its time and its place, and costs nothing else: neither the log
//! nor the daemon's descriptors are at its mercy.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::clients::{self, Service};

/// Longest request in bytes, all its headers included.
const MAX_REQUEST_BYTES: usize = 8 << 10;

/// Clients served at one time; one more is told to come again.
const MAX_CLIENTS: usize = 16;

/// How long a client has for all that it says and takes: what Prometheus gives a scrape unless told otherwise.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves the page that `render` writes as `/metrics` of `listen`, from now on, on threads of its own.
///
/// # Errors
/// The address is taken, or is not this machine's; or there is no thread.
pub fn serve<F>(listen: SocketAddr, render: F) -> io::Result<()>
where
    F: Fn() -> String + Send + Sync + 'static,
{
    serve_for(PATIENCE, TcpListener::bind(listen)?, render)
}

fn serve_for<F>(patience: Duration, listener: TcpListener, render: F) -> io::Result<()>
where
    F: Fn() -> String + Send + Sync + 'static,
{
    let service = Service {
        name: "metrics-client",
        most: MAX_CLIENTS,
        turn_away,
        attend: move |stream: &TcpStream| {
            // A client that has gone away, or has had its time, is no error of ours.
            let _ = attend(&mut Talk { stream, end: Instant::now() + patience }, &render);
        },
    };
    let accept = move || listener.accept().map(|(stream, _)| stream);
    let run = move || clients::serve(accept, service);
    thread::Builder::new().name("metrics-accept".to_owned()).spawn(run).map(drop)
}

fn turn_away(mut stream: &TcpStream) {
    // The kernel's buffer of a new connection takes so little at once.
    let _ = stream.set_nonblocking(true);
    let _ = stream.write_all(answer("503 Service Unavailable", "too many clients\n").as_bytes());
}

fn attend(talk: &mut Talk<'_>, render: &impl Fn() -> String) -> io::Result<()> {
    let request = request(talk)?;
    let page = match words(&request)[..] {
        [b"GET", b"/metrics", ..] => answer("200 OK", &render()),
        [b"HEAD", b"/metrics", ..] => {
            let mut page = answer("200 OK", &render());
            page.truncate(page.find("\r\n\r\n").map_or(0, |head| head + 4));
            page
        }
        [b"GET" | b"HEAD", ..] => answer("404 Not Found", "the metrics are at /metrics\n"),
        _ => answer("400 Bad Request", "this is no request for a page\n"),
    };
    talk.write_all(page.as_bytes())
}

/// A request with the empty line that ends it; nothing where there is none, or not within bounds.
fn request(talk: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut request = Vec::new();
    let mut piece = [0; 1024];
    while request.len() < MAX_REQUEST_BYTES {
        match talk.read(&mut piece)? {
            0 => break,
            read => request.extend(&piece[..read]),
        }
        if request.windows(4).any(|end| end == b"\r\n\r\n") {
            return Ok(request);
        }
    }
    Ok(Vec::new())
}

/// The words of the first line: method, target without its query, version.
fn words(request: &[u8]) -> Vec<&[u8]> {
    let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
    line.split(|byte| *byte == b' ')
        .map(|word| word.split(|byte| *byte == b'?').next().unwrap_or(word))
        .collect()
}

fn answer(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// A connection that ends at a time, however little the other side says or takes at once.
struct Talk<'a> {
    stream: &'a TcpStream,
    end: Instant,
}

impl Talk<'_> {
    /// The time that is left, which is never none: that would stand for any.
    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(Some(left)) }
    }
}

impl Read for Talk<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        self.stream.read(bytes)
    }
}

impl Write for Talk<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More than the kernel takes of an answer that nobody reads.
    const LONG: usize = 16 << 20;

    fn start(patience: Duration, length: usize) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        serve_for(patience, listener, move || "x".repeat(length)).unwrap();
        address
    }

    fn say(address: SocketAddr, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        stream
    }

    fn hear(mut stream: TcpStream) -> String {
        let mut answer = Vec::new();
        // What is closed before all that was said has been read ends in an error.
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    }

    #[test]
    fn a_request_gets_its_answer() {
        let address = start(PATIENCE, 3);
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: 3\r\n\
                    Connection: close\r\n\r\n";
        for (request, expected) in [
            ("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", head.to_owned() + "xxx"),
            ("GET /metrics?a=b HTTP/1.0\r\n\r\n", head.to_owned() + "xxx"),
            ("HEAD /metrics HTTP/1.1\r\n\r\n", head.to_owned()),
        ] {
            assert_eq!(hear(say(address, request)), expected, "{request}");
        }
        for (request, status) in [
            ("GET / HTTP/1.1\r\n\r\n", "404"),
            ("POST /metrics HTTP/1.1\r\n\r\n", "400"),
            ("\u{16}\u{3}\u{1} ?\r\n\r\n", "400"),
            ("\r\n\r\n", "400"),
        ] {
            let answer = hear(say(address, request));
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}: {answer}");
        }
        // Read to its last byte, so that the connection is closed in order.
        let start = "GET /metrics HTTP/1.1\r\nX: ";
        let endless = start.to_owned() + &"x".repeat(MAX_REQUEST_BYTES - start.len());
        assert!(hear(say(address, &endless)).starts_with("HTTP/1.1 400 "));
    }

    #[test]
    fn who_says_or_takes_nothing_gives_up_its_place() {
        let address = start(Duration::from_millis(500), LONG);
        let silent = (0..MAX_CLIENTS / 2).map(|_| say(address, "GET /metr"));
        let deaf = (0..MAX_CLIENTS / 2).map(|_| say(address, "GET /metrics HTTP/1.1\r\n\r\n"));
        let waiting: Vec<TcpStream> = silent.chain(deaf).collect();
        while hear(say(address, "GET /metrics HTTP/1.1\r\n\r\n")).len() < LONG {}
        waiting.into_iter().take(MAX_CLIENTS / 2).for_each(|stream| assert_eq!(hear(stream), ""));
    }

    #[test]
    fn one_client_too_many_is_told_so() {
        let address = start(PATIENCE, 3);
        let _places: Vec<TcpStream> = (0..MAX_CLIENTS).map(|_| say(address, "")).collect();
        let answer = hear(TcpStream::connect(address).unwrap());
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    }
}
