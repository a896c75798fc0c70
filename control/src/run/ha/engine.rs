//! A Redis, this box's own or a peer's: the few commands on streams that are needed of it.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Parser, RedisError, RedisResult, Value, cmd};
use rustls::ClientConfig;

use super::transport::{Bounds, Credentials, Transport};
use crate::config::{self, EngineUrl};

/// The one field of a stream entry.
const FIELD: &str = "r";

/// What Redis does at once, so that nobody else is between the question and the answer.
const TAKE_LEASE: &str = "if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end \
     if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0";
const GIVE_LEASE_BACK: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

/// The ID of a stream entry: milliseconds, and a number among those of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId(u64, u64);

impl StreamId {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (ms, number) = std::str::from_utf8(bytes).ok()?.split_once('-')?;
        Some(Self(ms.parse().ok()?, number.parse().ok()?))
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

/// What a stream has at an ID; `None` where somebody has written something else there.
pub type Appended = (StreamId, Option<Vec<u8>>);

/// Where a Redis is, and what lets one in.
#[derive(Clone, Debug)]
pub struct Address {
    url: EngineUrl,
    /// What TLS needs, where it is spoken.
    tls: Option<Arc<ClientConfig>>,
    /// The user and the password.
    login: (Option<String>, Option<String>),
}

impl Address {
    /// That of the box's own Redis.
    ///
    /// # Errors
    /// Its password cannot be read.
    pub fn of_own(engine: &config::Engine) -> io::Result<Self> {
        let login = login(engine.user.as_ref(), engine.password_file.as_deref())?;
        Self::new(&engine.url, login, Files::default())
    }

    /// That of a peer's.
    ///
    /// # Errors
    /// One of the files that it names cannot be read, or is no certificate or key.
    pub fn of_peer(peer: &config::Peer) -> io::Result<Self> {
        let files = Files { ca: peer.ca.as_deref(), cert: peer.cert.as_deref(), key: peer.key.as_deref() };
        Self::new(&peer.url, login(peer.user.as_ref(), peer.password_file.as_deref())?, files)
    }

    fn new(url: &EngineUrl, login: (Option<String>, Option<String>), files: Files<'_>) -> io::Result<Self> {
        let tls = match url {
            EngineUrl::Tls(_) => Some(files.read()?.read()?),
            EngineUrl::Tcp(_) | EngineUrl::Unix(_) => None,
        };
        Ok(Self { url: url.clone(), tls, login })
    }

    /// One that anybody may ask.
    #[cfg(test)]
    pub const fn unguarded(url: EngineUrl) -> Self {
        Self { url, tls: None, login: (None, None) }
    }
}

/// A user and the password that a file has.
fn login(user: Option<&String>, file: Option<&Path>) -> io::Result<(Option<String>, Option<String>)> {
    let password = file.map(read).transpose()?;
    let password = password.map(|text| String::from_utf8_lossy(&text).trim_end().to_owned());
    Ok((user.cloned(), password))
}

/// The files that TLS needs.
#[derive(Clone, Copy, Debug, Default)]
struct Files<'a> {
    ca: Option<&'a Path>,
    cert: Option<&'a Path>,
    key: Option<&'a Path>,
}

impl Files<'_> {
    fn read(self) -> io::Result<Credentials> {
        let own = match (self.cert, self.key) {
            (Some(cert), Some(key)) => Some((read(cert)?, read(key)?)),
            _ => None,
        };
        Ok(Credentials { authority: self.ca.map(read).transpose()?, own })
    }
}

/// A file, which an error names.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    fs::read(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// A connection to a Redis. After an error it is of no use any more.
pub struct Engine {
    transport: Transport,
    parser: Parser,
}

impl Engine {
    /// Connects.
    ///
    /// # Errors
    /// Nobody answers, or the password is wrong.
    pub fn connect(address: &Address) -> RedisResult<Self> {
        Self::connect_within(address, Bounds::default())
    }

    /// The same, where questions and answers have other bounds.
    ///
    /// # Errors
    /// Those.
    pub fn connect_within(address: &Address, bounds: Bounds) -> RedisResult<Self> {
        let transport = Transport::connect(&address.url, address.tls.as_ref(), bounds)?;
        let mut engine = Self { transport, parser: Parser::new() };
        let (user, password) = &address.login;
        match password {
            Some(password) => engine.ask(cmd("AUTH").arg(user).arg(password))?,
            None => engine.ask(&mut cmd("PING"))?,
        };
        Ok(engine)
    }

    fn ask(&mut self, command: &mut Cmd) -> RedisResult<Value> {
        self.transport.ask(&command.get_packed_command())?;
        self.parser.parse_value(&mut self.transport)?.extract_error()
    }

    /// Whether it answers.
    ///
    /// # Errors
    /// It does not.
    pub fn ping(&mut self) -> RedisResult<()> {
        self.ask(&mut cmd("PING")).map(drop)
    }

    /// Takes a key for so long where it is nobody's, or keeps it for so long where it is this one's already; whether it is then.
    ///
    /// # Errors
    /// Redis is gone, or refuses.
    pub fn take_lease(&mut self, key: &str, name: &str, time: Duration) -> RedisResult<bool> {
        let mut command = cmd("EVAL");
        command.arg(TAKE_LEASE).arg(1).arg(key).arg(name).arg(time.as_millis() as u64);
        self.ask(&mut command).map(|answer| answer == Value::Int(1))
    }

    /// Gives a key back, if it is this one's.
    ///
    /// # Errors
    /// Redis is gone, or refuses.
    pub fn give_lease_back(&mut self, key: &str, name: &str) -> RedisResult<()> {
        self.ask(cmd("EVAL").arg(GIVE_LEASE_BACK).arg(1).arg(key).arg(name)).map(drop)
    }

    /// Removes a stream.
    ///
    /// # Errors
    /// Redis is gone, or refuses.
    pub fn remove(&mut self, key: &str) -> RedisResult<()> {
        self.ask(cmd("DEL").arg(key)).map(drop)
    }

    /// Appends an entry to a stream, of which the last ones are kept, at least so many.
    ///
    /// # Errors
    /// Redis is gone, or refuses.
    pub fn append(&mut self, key: &str, kept: usize, bytes: &[u8]) -> RedisResult<()> {
        let mut command = cmd("XADD");
        command.arg(key).arg("MAXLEN").arg("~").arg(kept).arg("*").arg(FIELD).arg(bytes);
        self.ask(&mut command).map(drop)
    }

    /// The entries behind an ID, at most so many. Waits for one for so long, or not at all.
    ///
    /// # Errors
    /// Redis is gone, or refuses.
    pub fn read(
        &mut self,
        key: &str,
        behind: StreamId,
        most: usize,
        wait: Option<Duration>,
    ) -> RedisResult<Vec<Appended>> {
        let mut command = cmd("XREAD");
        command.arg("COUNT").arg(most);
        if let Some(wait) = wait {
            command.arg("BLOCK").arg(wait.as_millis() as u64);
        }
        match self.ask(command.arg("STREAMS").arg(key).arg(behind.to_string()))? {
            Value::Nil => Ok(Vec::new()),
            reply => {
                let of_key = only(reply).and_then(|stream| list(stream)?.into_iter().nth(1));
                of_key.and_then(appended).ok_or_else(strange)
            }
        }
    }

    /// The last entry of a stream, if there is one.
    ///
    /// # Errors
    /// Redis is gone, or refuses.
    pub fn last(&mut self, key: &str) -> RedisResult<Option<Appended>> {
        let reply = self.ask(cmd("XREVRANGE").arg(key).arg("+").arg("-").arg("COUNT").arg(1))?;
        Ok(appended(reply).ok_or_else(strange)?.pop())
    }
}

fn strange() -> RedisError {
    RedisError::from((redis::ErrorKind::Parse, "Redis answers something else"))
}

fn list(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(list) => Some(list),
        _ => None,
    }
}

fn only(value: Value) -> Option<Value> {
    list(value)?.into_iter().next()
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}

/// A list of stream entries.
fn appended(value: Value) -> Option<Vec<Appended>> {
    let entry = |entry| {
        let mut parts = list(entry)?.into_iter();
        let id = StreamId::parse(&bytes(parts.next()?)?)?;
        let fields: Vec<_> = list(parts.next()?)?.into_iter().filter_map(bytes).collect();
        Some(match <[Vec<u8>; 2]>::try_from(fields) {
            Ok([field, value]) if field == FIELD.as_bytes() => (id, Some(value)),
            _ => (id, None),
        })
    };
    list(value)?.into_iter().map(entry).collect()
}
