//! Helpers from outside: packets of control connections in, expectations and rewritten text out.

mod amanda;
mod assignment;
mod datagrams;
mod ftp;
mod h323;
mod irc;
mod numbers;
mod pptp;
mod rtsp;
mod sane;
mod session;
mod sip;
mod streams;
mod switched;
mod takeover;
mod talk;
mod tftp;
mod translated;

use crate::common::*;
use sluice_conntrack::helpers::{Assignment, HelperId, Helpers};
use sluice_conntrack::policy::{self, Match};
use sluice_conntrack::{PortId, Verdict};
use std::net::SocketAddr;

/// FTP on these ports.
fn ftp_on(ports: &[u16]) -> Assignment {
    let on =
        Match { destination_ports: ports.iter().map(|port| *port..=*port).collect(), ..Match::default() };
    Assignment { helper: HelperId::Ftp, on, loose: false }
}

/// The same box with these helpers.
fn with_helpers<const N: usize>(mut it: Middlebox, assignments: [Assignment; N]) -> Middlebox {
    it.change(|configuration| configuration.helpers = Helpers::new(assignments.into()));
    it
}

impl Middlebox {
    /// The verdict on a packet of IPv4, and where it goes.
    fn reaches(&mut self, port: PortId, packet: &Packet) -> (Verdict, String) {
        let mut frames = [(port, packet.frame())];
        let verdict = self.burst(&mut frames)[0];
        let [(_, frame)] = frames;
        let address: [u8; 4] = *frame[30..].first_chunk().unwrap();
        let to = SocketAddr::from((address, u16::from_be_bytes([frame[36], frame[37]])));
        (verdict, to.to_string())
    }
}
