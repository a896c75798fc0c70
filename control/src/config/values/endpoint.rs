//! Where messages go, of syslog or of IPFIX.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use super::scalar::scalars;

scalars! {
    Endpoint: "string", "where messages go, such as udp://192.0.2.5:514, tcp://192.0.2.5:601 or unix:///dev/log";
}

/// Where messages go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `udp://ADDRESS:PORT`.
    Udp(SocketAddr),
    /// `tcp://ADDRESS:PORT`.
    Tcp(SocketAddr),
    /// `unix:///PATH`: a socket of datagrams.
    Unix(PathBuf),
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Endpoint, String> {
        let address = |address: &str| match address.parse() {
            Ok(it) if SocketAddr::port(&it) != 0 && !it.ip().is_unspecified() => Ok(it),
            _ => Err(format!("`{address}` is not an IP address and a port that can be sent to")),
        };
        match text.split_once("://") {
            Some(("udp", to)) => address(to).map(Endpoint::Udp),
            Some(("tcp", to)) => address(to).map(Endpoint::Tcp),
            Some(("unix", path)) if path.starts_with('/') => Ok(Endpoint::Unix(PathBuf::from(path))),
            Some(("unix", path)) => Err(format!("`{path}` is not a path from the root")),
            _ => Err(format!("`{text}` does not say where messages go")),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Udp(address) => write!(f, "udp://{address}"),
            Endpoint::Tcp(address) => write!(f, "tcp://{address}"),
            Endpoint::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_written_as_they_are_read() {
        for text in ["udp://192.0.2.5:514", "tcp://[2001:db8::5]:601", "unix:///dev/log"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
        for text in
            ["udp://192.0.2.5", "udp://0.0.0.0:514", "tcp://loghost:601", "unix://dev/log", "/dev/log"]
        {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }
}
