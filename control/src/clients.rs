//! Clients of a socket, each on a thread of its own, and no more than so many at one time.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// How long nobody is accepted after the system has refused to, for want of descriptors most likely: some client is to
/// leave first.
const REST: Duration = Duration::from_millis(100);

/// How the clients of one socket are served.
pub struct Service<Turn, Attend> {
    /// What their threads are called.
    pub name: &'static str,
    /// How many are served at one time.
    pub most: usize,
    /// Tells one client too many so. It must not wait.
    pub turn_away: Turn,
    /// Talks to a client until one of the two has had enough.
    pub attend: Attend,
}

/// Serves whomever `accept` gives, for ever.
pub fn serve<S, Turn, Attend>(accept: impl Fn() -> io::Result<S>, service: Service<Turn, Attend>) -> !
where
    S: Send + 'static,
    Turn: Fn(&S),
    Attend: Fn(&S) + Send + Sync + 'static,
{
    let Service { name, most, turn_away, attend } = service;
    // Each client's thread holds one more reference.
    let attend = Arc::new(attend);
    loop {
        let Ok(stream) = accept() else {
            thread::sleep(REST);
            continue;
        };
        if Arc::strong_count(&attend) > most {
            turn_away(&stream);
            continue;
        }
        let attend = Arc::clone(&attend);
        // Without a thread the stream is closed, which tells the client.
        let _ = thread::Builder::new().name(name.to_owned()).spawn(move || attend(&stream));
    }
}
