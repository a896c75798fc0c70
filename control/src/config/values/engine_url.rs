//! Where a Redis is to be reached.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use super::scalar::scalars;

scalars! {
    EngineUrl: "string", "the URL of a Redis, such as unix:///run/redis-sluice/redis.sock or redis://10.99.0.12:6380";
}

/// Where a Redis is to be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineUrl {
    /// `unix:///PATH`: a Unix socket.
    Unix(PathBuf),
    /// `redis://ADDRESS:PORT`: an address, no name that would have to be looked up.
    Tcp(SocketAddr),
    /// `rediss://ADDRESS:PORT`: the same over TLS.
    Tls(SocketAddr),
}

impl FromStr for EngineUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<EngineUrl, String> {
        let socket = |address: &str| {
            address.parse().map_err(|_| format!("`{address}` is not an IP address and a port"))
        };
        match text.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => Ok(EngineUrl::Unix(PathBuf::from(path))),
            Some(("unix", path)) => Err(format!("`{path}` is not a path from the root")),
            Some(("redis", address)) => socket(address).map(EngineUrl::Tcp),
            Some(("rediss", address)) => socket(address).map(EngineUrl::Tls),
            _ => Err(format!("`{text}` is not the URL of a Redis")),
        }
    }
}

impl fmt::Display for EngineUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EngineUrl::Unix(path) => write!(f, "unix://{}", path.display()),
            EngineUrl::Tcp(address) => write!(f, "redis://{address}"),
            EngineUrl::Tls(address) => write!(f, "rediss://{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_sockets_or_addresses() {
        for text in [
            "unix:///run/redis.sock",
            "redis://10.0.0.2:6380",
            "redis://[2001:db8::2]:6380",
            "rediss://10.0.0.2:6380",
        ] {
            assert_eq!(text.parse::<EngineUrl>().unwrap().to_string(), text);
        }
        for (text, said) in [
            ("unix://run/redis.sock", "is not a path from the root"),
            ("redis://10.0.0.2", "is not an IP address and a port"),
            ("redis://box-b:6380", "is not an IP address and a port"),
            ("rediss://box-b:6380", "is not an IP address and a port"),
            ("10.0.0.2:6380", "is not the URL"),
        ] {
            assert!(text.parse::<EngineUrl>().unwrap_err().contains(said), "{text}");
        }
    }
}
