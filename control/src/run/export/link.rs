//! The way to who is told over a network or a socket: over UDP, TCP or a Unix socket of datagrams. Who does not answer, or takes
//! nothing, keeps nobody waiting for longer than [`PATIENCE`].

use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use crate::config::Endpoint;

/// A receiver that does not take a message, or a connection, for so long has lost it.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long nobody is called who did not answer.
const PAUSE: Duration = Duration::from_secs(1);

/// The way to a receiver.
pub struct Link {
    to: Endpoint,
    socket: Option<Socket>,
    /// When that was last opened or lost.
    changed: Option<Instant>,
}

enum Socket {
    Udp(UdpSocket),
    Tcp(TcpStream),
    Unix(UnixDatagram),
}

impl Link {
    /// To there.
    pub const fn new(to: Endpoint) -> Link {
        Link { to, socket: None, changed: None }
    }

    /// Whether messages stand one behind the other in a stream.
    pub const fn is_stream(&self) -> bool {
        matches!(self.to, Endpoint::Tcp(_))
    }

    /// Opens it if it is not, and nobody has tried just now. Says whether it was opened by this.
    pub fn open(&mut self) -> bool {
        if self.socket.is_some() || self.changed.is_some_and(|changed| changed.elapsed() < PAUSE) {
            return false;
        }
        self.changed = Some(Instant::now());
        match connect(&self.to) {
            Ok(socket) => self.socket = Some(socket),
            Err(error) => tracing::warn!("export: {}: {error}", self.to),
        }
        self.socket.is_some()
    }

    /// Sends a message, if it is open; false if that is lost.
    pub fn send(&mut self, message: &[u8]) -> bool {
        let Some(socket) = &mut self.socket else { return false };
        let sent = match socket {
            Socket::Udp(socket) => socket.send(message).map(drop),
            Socket::Unix(socket) => socket.send(message).map(drop),
            Socket::Tcp(stream) => write_in_time(stream, message),
        };
        if let Err(error) = &sent {
            tracing::warn!("export: {}: {error}", self.to);
            self.socket = None;
            self.changed = Some(Instant::now());
        }
        sent.is_ok()
    }
}

/// Writes all of it within [`PATIENCE`], however little of it is taken at a time.
fn write_in_time(stream: &mut TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    let until = Instant::now() + PATIENCE;
    while !bytes.is_empty() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_write_timeout(Some(left))?;
        match stream.write(bytes)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => bytes = &bytes[written..],
        }
    }
    Ok(())
}

fn connect(to: &Endpoint) -> io::Result<Socket> {
    Ok(match to {
        Endpoint::Udp(address) => {
            let any = match address.is_ipv4() {
                true => Ipv4Addr::UNSPECIFIED.into(),
                false => Ipv6Addr::UNSPECIFIED.into(),
            };
            let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
            socket.connect(address)?;
            Socket::Udp(socket)
        }
        Endpoint::Tcp(address) => {
            let stream = TcpStream::connect_timeout(address, PATIENCE)?;
            stream.set_nodelay(true)?;
            Socket::Tcp(stream)
        }
        Endpoint::Unix(path) => {
            let socket = UnixDatagram::unbound()?;
            socket.connect(path)?;
            socket.set_write_timeout(Some(PATIENCE))?;
            Socket::Unix(socket)
        }
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[test]
    fn who_takes_a_message_bit_by_bit_has_its_time_and_no_more() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut link = Link::new(Endpoint::Tcp(listener.local_addr().unwrap()));
        assert!(link.open() && link.send(b"short"));
        let (mut slow, _) = listener.accept().unwrap();
        thread::spawn(move || {
            // All of it would take it half a minute.
            while slow.read(&mut [0; 1 << 14]).is_ok_and(|read| read > 0) {
                thread::sleep(PAUSE / 100);
            }
        });
        let since = Instant::now();
        assert!(!link.send(&vec![0; 64 << 20]));
        assert!(since.elapsed() < 3 * PATIENCE, "{:?}", since.elapsed());
        assert!(!link.send(b"more") && !link.open(), "it is left alone for a while");
    }
}
