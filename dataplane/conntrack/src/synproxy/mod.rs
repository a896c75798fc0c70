//! SYN cookies for servers behind the box (RFC 4987 section 3.6): what nft and iptables call `synproxy`.
//!
//! ```text
//!   client                      box                            server
//!     | SYN(isn) ---------------> | a rule says `synproxy`        |
//!     | <-- SYN/ACK(cookie, window 0) nothing is remembered        |
//!     | ACK(cookie + 1) --------> | the cookie is good: an entry  |
//!     |                           | SYN(isn) -------------------> |
//!     |                           | <----------- SYN/ACK(answered)|
//!     | <-- ACK(cookie + 1, window opens)  ACK(answered + 1) ----> |
//!     | <=== numbers of the server are moved by cookie - answered ===> |
//! ```
//!
//! A SYN from nobody costs a packet and no memory. The ACK that brings a good cookie becomes the SYN to the server, in its own frame, and
//! goes on as any first packet does: its destination is bound, it is routed, judged, and admitted. The server's SYN/ACK becomes
//! the packet that opens the client's window. From then on the connection's numbers are moved as those of rewritten text are
//! ([`crate::helpers`]).

mod cookie;
mod segment;
mod stage;

pub(crate) use cookie::Cookies;
pub(crate) use segment::{Header, Options, syn_options};

use crate::tracker::tcp::MAX_SCALE;
use crate::tuple::Family;
use crate::wire::tcp::{Segment, TcpOption};
use zerocopy::FromZeros;

/// What a client is offered in the name of its server, which nobody has asked yet: what a rule says of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Synproxy {
    /// The maximum segment size over IPv4, where the interface has room for it; over IPv6, whose headers are longer, it is 20 bytes less.
    pub mss: u16,
    /// The window scale, up to 14; `None` for no scaling.
    pub wscale: Option<u8>,
    /// Whether selective acknowledgements are permitted.
    pub sack_perm: bool,
}

/// What a client has offered in its SYN, as far as its cookie keeps it: what its server is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientOffer {
    /// The maximum segment size.
    pub(crate) mss: u16,
    /// The window scale, if both scale.
    pub(crate) wscale: Option<u8>,
    /// Whether both permit selective acknowledgements.
    pub(crate) sack_perm: bool,
}

impl ClientOffer {
    /// What a SYN offers, as far as a rule lets it; what it does not say, hosts of the family assume (RFC 9293 section 3.7.1).
    pub(crate) fn of(syn: &Segment<'_>, family: Family, rule: &Synproxy) -> Self {
        let assumed = if family == Family::V4 { 536 } else { 1220 };
        let mut offer = Self { mss: assumed, wscale: None, sack_perm: false };
        for option in syn.options() {
            match option {
                TcpOption::Mss(mss) => offer.mss = mss,
                TcpOption::WindowScale(wscale) => {
                    offer.wscale = rule.wscale.map(|_| wscale.min(MAX_SCALE));
                }
                TcpOption::SackPermitted => offer.sack_perm = rule.sack_perm,
                TcpOption::Sack(_) | TcpOption::Other { .. } => {}
            }
        }
        offer
    }
}

/// What an entry keeps of the handshakes on both sides. All zeros where there were none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromZeros)]
#[repr(C)]
pub(crate) struct Proxied {
    /// The first number of the client.
    pub(crate) isn: u32,
    /// What the client takes for the first number of its server.
    pub(crate) cookie: u32,
    /// The first number of the server, once that has answered.
    pub(crate) answered: u32,
    /// The client's last window, as it stands in a header.
    pub(crate) window: u16,
    /// What the server is offered.
    pub(crate) mss: u16,
    pub(crate) wscale: u8,
    pub(crate) has_wscale: bool,
    pub(crate) sack_perm: bool,
    /// Whether there were any.
    pub(crate) is_some: bool,
    /// Whether the server has answered.
    pub(crate) is_answered: bool,
}

impl Proxied {
    /// A client has sent its cookie.
    const fn new(isn: u32, cookie: u32, window: u16, offer: ClientOffer) -> Self {
        let (wscale, has_wscale) = match offer.wscale {
            Some(wscale) => (wscale, true),
            None => (0, false),
        };
        let ClientOffer { mss, sack_perm, .. } = offer;
        Self {
            isn,
            cookie,
            answered: 0,
            window,
            mss,
            wscale,
            has_wscale,
            sack_perm,
            is_some: true,
            is_answered: false,
        }
    }

    /// What the client has offered.
    fn offer(&self) -> ClientOffer {
        ClientOffer {
            mss: self.mss,
            wscale: self.has_wscale.then_some(self.wscale),
            sack_perm: self.sack_perm,
        }
    }

    /// What the server's numbers are moved by.
    const fn shift(&self) -> u32 {
        self.cookie.wrapping_sub(self.answered)
    }
}
