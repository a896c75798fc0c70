//! Helpers from outside: packets of control connections in, expectations and rewritten text out.

mod assignment;

use crate::common::*;
use sluice_conntrack::helpers::{Assignment, HelperId, Helpers};
use sluice_conntrack::policy::Match;

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
