//! A Redis, this box's own or a peer's: the few commands on streams that are needed of it.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use redis::{Client, Cmd, Connection, ConnectionAddr, RedisError, RedisResult, Value, cmd};

use crate::config::EngineUrl;

/// A Redis that does not answer for so long is gone.
const PATIENCE: Duration = Duration::from_secs(2);

/// The one field of a stream entry.
const FIELD: &str = "r";

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
    password: Option<String>,
}

impl Address {
    /// With the password of a file, if there is one.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn new(url: &EngineUrl, password_file: Option<&Path>) -> io::Result<Self> {
        let password = password_file.map(fs::read_to_string).transpose()?;
        Ok(Self { url: url.clone(), password: password.map(|text| text.trim_end().to_owned()) })
    }
}

/// A connection to a Redis. After an error it is of no use any more.
pub struct Engine(Connection);

impl Engine {
    /// Connects.
    ///
    /// # Errors
    /// Nobody answers, or the password is wrong.
    pub fn connect(address: &Address) -> RedisResult<Self> {
        let at = match &address.url {
            EngineUrl::Unix(path) => ConnectionAddr::Unix(path.clone()),
            EngineUrl::Tcp(at) => ConnectionAddr::Tcp(at.ip().to_string(), at.port()),
        };
        let connection = Client::open(at)?.get_connection_with_timeout(PATIENCE)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        connection.set_write_timeout(Some(PATIENCE))?;
        let mut engine = Self(connection);
        match &address.password {
            Some(password) => engine.ask(cmd("AUTH").arg(password))?,
            None => engine.ask(&mut cmd("PING"))?,
        };
        Ok(engine)
    }

    fn ask(&mut self, command: &mut Cmd) -> RedisResult<Value> {
        command.query(&mut self.0)
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
