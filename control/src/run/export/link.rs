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
            Socket::Tcp(stream) => stream.write_all(message),
        };
        if let Err(error) = &sent {
            tracing::warn!("export: {}: {error}", self.to);
            self.socket = None;
            self.changed = Some(Instant::now());
        }
        sent.is_ok()
    }
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
            stream.set_write_timeout(Some(PATIENCE))?;
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
