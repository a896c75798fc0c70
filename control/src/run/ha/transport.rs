//! The way to a Redis: over TCP, TLS or a Unix socket. Whoever is at its other end, an answer has its time and its size, so that no thread waits
//! for longer, and no more is kept.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::config::EngineUrl;

/// What a question and its answer may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// From one byte to the next: a Redis that does not answer for so long is gone.
    pub silence: Duration,
    /// All of it.
    pub time: Duration,
    /// Bytes of the answer. Stream entries as large as they are, as many as are read at a time, take 53 MB.
    pub bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { silence: Duration::from_secs(2), time: Duration::from_secs(10), bytes: 64 << 20 }
    }
}

/// The certificates and the key that TLS needs, as PEM.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// Whoever signs the other end's certificate; the host's own authorities where there is none.
    pub authority: Option<Vec<u8>>,
    /// The own certificate and its key.
    pub own: Option<(Vec<u8>, Vec<u8>)>,
}

impl Credentials {
    /// Reads them.
    ///
    /// # Errors
    /// One is no certificate, or no key.
    pub fn read(&self) -> io::Result<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        match &self.authority {
            Some(pem) => certificates(pem)?
                .into_iter()
                .try_for_each(|authority| roots.add(authority).map_err(io::Error::other))?,
            None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
        }
        let config = ClientConfig::builder().with_root_certificates(roots);
        let config = match &self.own {
            Some((certificate, key)) => {
                let key = PrivateKeyDer::from_pem_slice(key).map_err(io::Error::other)?;
                config.with_client_auth_cert(certificates(certificate)?, key).map_err(io::Error::other)?
            }
            None => config.with_no_client_auth(),
        };
        Ok(Arc::new(config))
    }
}

fn certificates(pem: &[u8]) -> io::Result<Vec<CertificateDer<'static>>> {
    let all: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(io::Error::other)?;
    if all.is_empty() { Err(io::Error::other("no certificate in it")) } else { Ok(all) }
}

/// The way there.
pub enum Transport {
    /// As it is.
    Plain(Bounded),
    /// Over TLS.
    Tls(Box<StreamOwned<ClientConnection, Bounded>>),
}

impl Transport {
    /// Connects; over TLS nothing is said before the first question.
    ///
    /// # Errors
    /// Nobody is there in time.
    pub fn connect(url: &EngineUrl, tls: Option<&Arc<ClientConfig>>, bounds: Bounds) -> io::Result<Self> {
        match url {
            EngineUrl::Unix(path) => Ok(Self::Plain(Bounded::new(Socket::unix(path)?, bounds))),
            EngineUrl::Tcp(at) => Ok(Self::Plain(Bounded::new(Socket::tcp(at, bounds)?, bounds))),
            EngineUrl::Tls(at) => {
                let config = tls.ok_or_else(|| io::Error::other("no certificates"))?;
                let name = ServerName::from(at.ip());
                let session = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
                let socket = Bounded::new(Socket::tcp(at, bounds)?, bounds);
                Ok(Self::Tls(Box::new(StreamOwned::new(session, socket))))
            }
        }
    }

    /// Asks; the answer is read from this then.
    ///
    /// # Errors
    /// It is not taken in time.
    pub fn ask(&mut self, question: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(socket) => {
                socket.begin();
                socket.write_all(question)
            }
            Self::Tls(stream) => {
                stream.sock.begin();
                stream.write_all(question)?;
                stream.flush()
            }
        }
    }
}

impl Read for Transport {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(into),
            Self::Tls(stream) => stream.read(into),
        }
    }
}

/// A socket, with what is left to a question and its answer.
pub struct Bounded {
    socket: Socket,
    bounds: Bounds,
    until: Instant,
    left_bytes: usize,
}

impl Bounded {
    fn new(socket: Socket, bounds: Bounds) -> Self {
        Self { socket, bounds, until: Instant::now() + bounds.time, left_bytes: bounds.bytes }
    }

    /// The next question.
    fn begin(&mut self) {
        (self.until, self.left_bytes) = (Instant::now() + self.bounds.time, self.bounds.bytes);
    }

    /// How long may be waited now; a timeout of zero would be none.
    fn wait(&self) -> io::Result<Option<Duration>> {
        match self.until.saturating_duration_since(Instant::now()).min(self.bounds.silence) {
            Duration::ZERO => Err(late()),
            wait => Ok(Some(wait)),
        }
    }
}

impl Read for Bounded {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.left_bytes == 0 {
            return Err(io::Error::other("its answer is too long"));
        }
        let wait = self.wait()?;
        let most = into.len().min(self.left_bytes);
        let read = match &mut self.socket {
            Socket::Tcp(stream) => {
                stream.set_read_timeout(wait)?;
                stream.read(&mut into[..most])
            }
            Socket::Unix(stream) => {
                stream.set_read_timeout(wait)?;
                stream.read(&mut into[..most])
            }
        }
        .map_err(or_late)?;
        self.left_bytes -= read;
        Ok(read)
    }
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let wait = self.wait()?;
        match &mut self.socket {
            Socket::Tcp(stream) => {
                stream.set_write_timeout(wait)?;
                stream.write(bytes)
            }
            Socket::Unix(stream) => {
                stream.set_write_timeout(wait)?;
                stream.write(bytes)
            }
        }
        .map_err(or_late)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "its answer takes too long")
}

/// That, where a socket's timeout is over, which has another name.
fn or_late(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { late() } else { error }
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    fn tcp(at: &SocketAddr, bounds: Bounds) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(at, bounds.silence)?;
        stream.set_nodelay(true)?;
        Ok(Self::Tcp(stream))
    }

    fn unix(path: &Path) -> io::Result<Self> {
        UnixStream::connect(path).map(Self::Unix)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::super::engine::{Address, Engine};
    use super::*;

    const BOUNDS: Bounds =
        Bounds { silence: Duration::from_millis(400), time: Duration::from_millis(1200), bytes: 1 << 20 };

    /// What a Redis is told by one who asks, whose other end does this.
    fn told(serve: impl FnOnce(TcpStream) + Send + 'static) -> (String, Duration) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        thread::spawn(move || serve(listener.accept().unwrap().0));
        let address = Address::unguarded(EngineUrl::Tcp(at));
        let since = Instant::now();
        let why = Engine::connect_within(&address, BOUNDS).map(drop).unwrap_err();
        (why.to_string(), since.elapsed())
    }

    /// Says it again and again.
    fn goes_on(mut stream: TcpStream, first: &[u8], again: &[u8], pause: Duration) {
        let _ = stream.write_all(first);
        while stream.write_all(again).is_ok() {
            thread::sleep(pause);
        }
    }

    #[test]
    fn whoever_answers_has_a_time_and_a_size() {
        let (why, time) = told(|stream| goes_on(stream, b"$9000000000\r\n", &[0; 1 << 16], Duration::ZERO));
        assert!(why.contains("too long") && time < BOUNDS.time, "{why} {time:?}");
        let (why, time) = told(|stream| goes_on(stream, b"+", b"x", Duration::from_millis(50)));
        assert!(why.contains("takes too long"), "{why}");
        assert!((BOUNDS.time..2 * BOUNDS.time).contains(&time), "{time:?}");
        let (_, time) = told(|stream| {
            thread::sleep(5 * BOUNDS.time);
            drop(stream);
        });
        assert!((BOUNDS.silence..BOUNDS.time).contains(&time), "{time:?}");
        for said in [&b"\xff\xfe\x00HTTP/1.1 400\r\n\r\n"[..], b"*3\r\n*", b"-ERR no\r\n", b""] {
            let (_, time) = told(move |mut stream| stream.write_all(said).unwrap());
            assert!(time < BOUNDS.time, "{time:?}");
        }
        // Arrays of arrays of arrays.
        let (_, time) = told(|stream| goes_on(stream, b"", &b"*1\r\n".repeat(1 << 12), Duration::ZERO));
        assert!(time < BOUNDS.time, "{time:?}");
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        for authority in
            [&b"nonsense"[..], b"", b"-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----\n"]
        {
            let credentials = Credentials { authority: Some(authority.to_vec()), own: None };
            assert!(credentials.read().is_err());
        }
        assert!(Credentials::default().read().is_ok());
    }
}
