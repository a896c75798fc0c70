//! Who is connected to the control socket, at most [`MAX_CLIENTS`].
//!
//! When all slots are taken, the client that has been idle for longest gives way to the next one, so that nobody who
//! holds connections, silent or never done with a request, locks an operator out. A client whose request is being served
//! keeps its slot; what the daemon is busy with is over soon, and whoever comes meanwhile waits for that.

use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::MAX_CLIENTS;
use super::protocol::Response;

/// The clients that have a slot.
#[derive(Debug, Default)]
pub struct Clients {
    connected: Mutex<Connected>,
    /// Some client has left, or has been served.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Connected {
    /// How often somebody has come or been served: the clock of [`Client::idle_since`].
    events: u64,
    clients: Vec<Client>,
}

#[derive(Debug)]
struct Client {
    /// The event that it came with: its name.
    number: u64,
    stream: Arc<UnixStream>,
    activity: Activity,
}

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Activity {
    /// Its request waits for the daemon.
    Served,
    /// It has said nothing whole since this event: its last answer, or its coming.
    IdleSince(u64),
}

impl Clients {
    /// Gives a client a slot, if need be that of another, or waits until it can.
    pub fn admit(self: &Arc<Self>, stream: &Arc<UnixStream>) -> ClientSlot {
        let mut connected = self.lock();
        while connected.clients.len() >= MAX_CLIENTS && !connected.evict_idlest() {
            connected = self.changed.wait(connected).unwrap_or_else(PoisonError::into_inner);
        }
        let number = connected.event();
        let activity = Activity::IdleSince(number);
        connected.clients.push(Client { number, stream: Arc::clone(stream), activity });
        ClientSlot { clients: Arc::clone(self), number }
    }

    fn lock(&self) -> MutexGuard<'_, Connected> {
        // What a client's thread leaves behind is whole after each statement.
        self.connected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connected {
    fn event(&mut self) -> u64 {
        self.events += 1;
        self.events
    }

    /// Sends away the client that has been idle for longest. False where all are being served.
    fn evict_idlest(&mut self) -> bool {
        let idle_since = |(index, client): (usize, &Client)| match client.activity {
            Activity::Served => None,
            Activity::IdleSince(event) => Some((event, index)),
        };
        let idlest = self.clients.iter().enumerate().filter_map(idle_since).min();
        let Some((_, index)) = idlest else { return false };
        turn_away(&self.clients.swap_remove(index).stream);
        true
    }
}

/// Tells a client why it has to leave, if it listens, and ends its thread's waiting.
fn turn_away(mut stream: &UnixStream) {
    let message =
        format!("{MAX_CLIENTS} others are connected, and this connection was idle for longest; try again");
    let _ = stream.set_nonblocking(true);
    let _ = stream.write_all(&Response::Error { message }.line());
    let _ = stream.shutdown(Shutdown::Both);
}

/// The slot of a client, until it is dropped.
#[derive(Debug)]
pub struct ClientSlot {
    clients: Arc<Clients>,
    number: u64,
}

impl ClientSlot {
    /// Has a request of the client served, which keeps its slot meanwhile.
    pub fn serve<T>(&self, serve: impl FnOnce() -> T) -> T {
        self.now(|_| Activity::Served);
        let served = serve();
        self.now(Activity::IdleSince);
        self.clients.changed.notify_one();
        served
    }

    fn now(&self, activity: impl FnOnce(u64) -> Activity) {
        let mut connected = self.clients.lock();
        let event = connected.event();
        if let Some(client) = connected.clients.iter_mut().find(|client| client.number == self.number) {
            client.activity = activity(event);
        }
    }
}

impl Drop for ClientSlot {
    fn drop(&mut self) {
        self.clients.lock().clients.retain(|client| client.number != self.number);
        self.clients.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// A client with its slot, and its own end of the connection.
    fn come(clients: &Arc<Clients>) -> (ClientSlot, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (clients.admit(&Arc::new(ours)), theirs)
    }

    fn is_connected(clients: &Clients, slot: &ClientSlot) -> bool {
        clients.lock().clients.iter().any(|client| client.number == slot.number)
    }

    #[test]
    fn the_longest_idle_client_gives_way() {
        let clients = Arc::new(Clients::default());
        let mut all: Vec<_> = (0..MAX_CLIENTS).map(|_| come(&clients)).collect();
        all[0].0.serve(|| ());
        let latecomers = [come(&clients), come(&clients)];
        let gone: Vec<bool> = all.iter().map(|(slot, _)| !is_connected(&clients, slot)).collect();
        assert!(!gone[0] && gone[1] && gone[2] && gone.iter().filter(|gone| **gone).count() == 2, "{gone:?}");
        let mut said = String::new();
        all[1].1.read_to_string(&mut said).unwrap();
        assert!(said.contains("idle for longest") && said.ends_with('\n'), "{said}");
        assert!(latecomers.iter().all(|(slot, _)| is_connected(&clients, slot)));
    }

    #[test]
    fn a_place_that_was_left_is_taken_first() {
        let clients = Arc::new(Clients::default());
        let mut all: Vec<_> = (0..MAX_CLIENTS).map(|_| come(&clients)).collect();
        all.pop();
        let latecomer = come(&clients);
        assert!(all.iter().chain([&latecomer]).all(|(slot, _)| is_connected(&clients, slot)));
    }

    #[test]
    fn who_is_being_served_is_waited_for() {
        let clients = Arc::new(Clients::default());
        let all: Vec<_> = (0..MAX_CLIENTS).map(|_| come(&clients)).collect();
        for (slot, _) in &all {
            slot.now(|_| Activity::Served);
        }
        std::thread::scope(|scope| {
            let latecomer = scope.spawn(|| come(&clients));
            // Whether it waits already or comes only then: the one that has been served gives way, and no other.
            all[3].0.serve(|| ());
            let (slot, _) = latecomer.join().unwrap();
            assert!(is_connected(&clients, &slot) && !is_connected(&clients, &all[3].0));
        });
        assert_eq!(all.iter().filter(|(slot, _)| is_connected(&clients, slot)).count(), MAX_CLIENTS - 1);
    }
}
