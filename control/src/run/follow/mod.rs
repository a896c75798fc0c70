//! Following the network stacks behind the host sides (`routes: { follow: host }`): a thread in each of their network namespaces
//! hears over netlink (rtnetlink(7)) what routes, addresses and static neighbours are there, and says so, many changes at a time.
//!
//! Changes of routes are applied one by one. The kernel does not tell of all that goes with an address or with an interface that
//! is taken down, and tells nothing where messages were lost (ENOBUFS): then everything is asked for anew.

mod kernel;
mod message;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::pin::pin;
use std::thread;
use std::time::Duration;

use futures_util::StreamExt;
use rtnetlink::packet_core::{NLM_F_APPEND, NLM_F_REPLACE, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::route::RouteMessage;
use rtnetlink::sys::AsyncSocket;
use rtnetlink::{Handle, MulticastGroup, RouteMessageBuilder, new_multicast_connection};
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use self::kernel::{KernelRoutes, Position};
pub use self::message::PortsByIndex;
use super::host::enter;
use crate::config::Followed;

/// What is to be heard of.
const GROUPS: [MulticastGroup; 6] = [
    MulticastGroup::Link,
    MulticastGroup::Neigh,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
];

/// Messages of so many bytes wait, where the kernel allows that: some tens of thousands of changes.
const WAITING_BYTES: i32 = 8 << 20;

/// What changes together is told together: until nothing has changed for so long, or so much time has passed.
const QUIET: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_millis(200);

/// How long nothing is heard after a failure.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Begins to follow a network stack: the namespace it is in, `None` for that of the daemon, and the box's ports there. `tell`
/// hears what it has, now and after each change, and says whether anybody still wants to know.
///
/// # Errors
/// The system gives no thread.
pub fn start(
    namespace: Option<String>,
    ports: PortsByIndex,
    mut tell: impl FnMut(Followed) -> bool + Send + 'static,
) -> io::Result<()> {
    let follow = move || {
        if let Some(namespace) = &namespace
            && let Err(why) = enter(namespace)
        {
            return warn!("routes: the network namespace {namespace} cannot be followed: {why}");
        }
        while let Err(why) = follow(&ports, WAITING_BYTES, &mut tell) {
            warn!("routes: the kernel cannot be followed: {why}");
            thread::sleep(AFTER_FAILURE);
        }
    };
    thread::Builder::new().name("control-routes".to_owned()).spawn(follow).map(drop)
}

/// Follows until nobody wants to know any more; so many bytes of messages wait.
fn follow(
    ports: &PortsByIndex,
    waiting_bytes: i32,
    tell: &mut impl FnMut(Followed) -> bool,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut connection, kernel, mut messages) = new_multicast_connection(&GROUPS)?;
        // The kernel's own limit is a smaller one, and good enough.
        let _ = connection.socket_mut().socket_mut().set_rx_buf_sz(waiting_bytes);
        tokio::spawn(connection);
        let mut stack = Stack::ask(&kernel, ports).await?;
        while tell(stack.followed()) {
            let mut change = Change::None;
            let mut until = None;
            loop {
                let next = match until {
                    None => messages.next().await,
                    Some(last) if Instant::now() >= last => break,
                    Some(last) => match timeout_at((Instant::now() + QUIET).min(last), messages.next()).await
                    {
                        Ok(next) => next,
                        Err(_) => break,
                    },
                };
                let Some((message, _)) = next else { return Err(io::ErrorKind::BrokenPipe.into()) };
                change = change.max(stack.hear(&message, ports));
                if change > Change::None {
                    until.get_or_insert_with(|| Instant::now() + PATIENCE);
                }
            }
            if change == Change::Unknown {
                stack = Stack::ask(&kernel, ports).await?;
            }
        }
        Ok(())
    })
}

/// What a message changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    /// Nothing that is followed.
    None,
    /// A route, which is applied.
    Route,
    /// All has to be asked for.
    Unknown,
}

/// What a network stack has.
#[derive(Debug, Default)]
struct Stack {
    routes: KernelRoutes,
    rest: Followed,
}

impl Stack {
    /// Asks the kernel for all of it.
    async fn ask(kernel: &Handle, ports: &PortsByIndex) -> io::Result<Stack> {
        let mut stack = Stack::default();
        let all =
            [RouteMessageBuilder::<Ipv4Addr>::new().build(), RouteMessageBuilder::<Ipv6Addr>::new().build()];
        for family in all {
            let mut routes = pin!(kernel.route().get(family).execute());
            while let Some(route) = routes.next().await {
                stack.add(&route.map_err(io::Error::other)?, Position::Last, ports);
            }
        }
        let mut addresses = pin!(kernel.address().get().execute());
        while let Some(address) = addresses.next().await {
            stack.rest.addresses.extend(message::address(&address.map_err(io::Error::other)?, ports));
        }
        let mut neighbours = pin!(kernel.neighbours().get().execute());
        while let Some(neighbour) = neighbours.next().await {
            let neighbour = neighbour.map_err(io::Error::other)?;
            stack.rest.neighbours.extend(message::neighbour(&neighbour, ports));
        }
        Ok(stack)
    }

    /// Takes up what a message says.
    fn hear(&mut self, message: &NetlinkMessage<RouteNetlinkMessage>, ports: &PortsByIndex) -> Change {
        let inner = match &message.payload {
            NetlinkPayload::InnerMessage(inner) => inner,
            NetlinkPayload::Overrun(_) => return Change::Unknown,
            _ => return Change::None,
        };
        let flags = message.header.flags;
        match inner {
            RouteNetlinkMessage::NewRoute(route) => {
                let position = match flags {
                    _ if flags & NLM_F_REPLACE != 0 => Position::Replacing,
                    _ if flags & NLM_F_APPEND != 0 => Position::Last,
                    _ => Position::First,
                };
                self.add(route, position, ports)
            }
            RouteNetlinkMessage::DelRoute(route) => match message::route(route, ports) {
                Some(gone) => {
                    self.routes.remove(&gone);
                    Change::Route
                }
                None => Change::None,
            },
            RouteNetlinkMessage::NewAddress(address) | RouteNetlinkMessage::DelAddress(address) => {
                unknown(ports.contains_key(&address.header.index))
            }
            RouteNetlinkMessage::NewLink(link) | RouteNetlinkMessage::DelLink(link) => {
                unknown(ports.contains_key(&link.header.index))
            }
            RouteNetlinkMessage::NewNeighbour(heard) | RouteNetlinkMessage::DelNeighbour(heard) => {
                let is_ours = ports.contains_key(&heard.header.ifindex);
                unknown(
                    is_ours
                        && (message::neighbour(heard, ports).is_some() || !self.rest.neighbours.is_empty()),
                )
            }
            _ => Change::None,
        }
    }

    fn add(&mut self, route: &RouteMessage, position: Position, ports: &PortsByIndex) -> Change {
        match message::route(route, ports) {
            Some(heard) => {
                self.routes.add(heard, position);
                Change::Route
            }
            None => Change::None,
        }
    }

    /// The same for the box.
    fn followed(&mut self) -> Followed {
        Followed { routes: self.routes.best(), ..self.rest.clone() }
    }
}

const fn unknown(is_so: bool) -> Change {
    if is_so { Change::Unknown } else { Change::None }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::process::Command;

    use nix::sched::{CloneFlags, unshare};
    use sluice_conntrack::PortId;

    use super::*;

    const ROUTES: usize = 3000;

    fn ip(arguments: &str) {
        assert!(Command::new("ip").args(arguments.split(' ')).status().unwrap().success(), "ip {arguments}");
    }

    /// Messages that the kernel has no room for are lost, and it says so (ENOBUFS).
    #[test]
    fn what_was_lost_is_asked_for_again() {
        let follow = || {
            // This thread and what it starts.
            if unshare(CloneFlags::CLONE_NEWNET).is_err() {
                return eprintln!("skipped: network namespaces need root");
            }
            ip("link add outside type veth peer name other");
            ip("address add 203.0.113.1/24 dev outside");
            ip("link set outside up");
            ip("link set other up");
            let shown = Command::new("ip").args(["-o", "link", "show", "outside"]).output().unwrap();
            let shown = String::from_utf8(shown.stdout).unwrap();
            let index = shown.split(':').next().unwrap().parse().unwrap();
            let ports = PortsByIndex::from([(index, PortId(0))]);
            let directory = tempfile::tempdir().unwrap();
            let batch = directory.path().join("batch");
            let mut lines = String::new();
            for n in 0..ROUTES {
                writeln!(lines, "route add 100.{}.{}.0/24 via 203.0.113.2", 64 + n / 256, n % 256).unwrap();
            }
            std::fs::write(&batch, lines).unwrap();
            let mut told = 0;
            let tell = &mut |followed: Followed| {
                told += 1;
                if told == 1 {
                    // Nobody reads meanwhile.
                    ip(&format!("-batch {}", batch.display()));
                }
                assert!(told < 1000, "{} routes of {ROUTES}", followed.routes.len());
                followed.routes.len() < ROUTES
            };
            // As it is followed again after any failure.
            while super::follow(&ports, 4096, tell).is_err() {}
        };
        thread::spawn(follow).join().unwrap();
    }
}
