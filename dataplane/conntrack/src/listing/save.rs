//! `conntrack -L -o save`: the options of a command that makes the entry. As in 1.4.7, the mark is not among them.

use super::{EntrySnapshot, Keys, protocol_name};
use crate::entry::Status;
use crate::tuple::Direction;
use std::fmt;

/// What an entry has in the place of ports, as options of either direction.
const PORTS: [[&str; 2]; 2] = [["--sport", "--dport"], ["--reply-port-src", "--reply-port-dst"]];
const CALLS: [[&str; 2]; 2] = [["--srckey", "--dstkey"], ["--reply-key-src", "--reply-key-dst"]];

pub(super) fn write(entry: &EntrySnapshot, out: &mut impl fmt::Write) -> fmt::Result {
    let EntrySnapshot { original, reply, status, .. } = entry;
    write!(out, "-A -t {} -u ", entry.remaining_s)?;
    out.write_str(match (status.contains(Status::SEEN_REPLY), status.contains(Status::ASSURED)) {
        (true, true) => "SEEN_REPLY,ASSURED",
        (true, false) => "SEEN_REPLY",
        (false, true) => "ASSURED",
        (false, false) => "UNSET",
    })?;
    match entry.zone() {
        0 => {}
        zone => write!(out, " -w {zone}")?,
    }
    let reply_src = if status.contains(Status::DST_NAT) { "-g" } else { "-r" };
    let reply_dst = if status.contains(Status::SRC_NAT) { "-n" } else { "-q" };
    write!(out, " -s {} -d {}", original.source(), original.destination())?;
    write!(out, " {reply_src} {} {reply_dst} {} -p ", reply.source(), reply.destination())?;
    match protocol_name(original.protocol()) {
        Some(name) => out.write_str(name)?,
        None => write!(out, "{}", original.protocol())?,
    }
    match Keys::of(original.protocol()) {
        Keys::None => {}
        Keys::Ports => write_keys(entry, &PORTS, out)?,
        Keys::Calls => write_keys(entry, &CALLS, out)?,
        Keys::Query => {
            let [kind, code] = original.selector.dport().to_be_bytes();
            let id = original.selector.sport();
            write!(out, " --icmp-type {kind} --icmp-code {code} --icmp-id {id}")?;
        }
    }
    if let Some(state) = entry.state {
        write!(out, " --state {state}")?;
    }
    match entry.tags {
        Some([original, reply]) => write!(out, " --orig-vtag {original} --reply-vtag {reply}"),
        None => Ok(()),
    }
}

fn write_keys(entry: &EntrySnapshot, names: &[[&str; 2]; 2], out: &mut impl fmt::Write) -> fmt::Result {
    for (direction, [source, destination]) in [Direction::Original, Direction::Reply].into_iter().zip(names) {
        let selector = entry.tuple(direction).selector;
        write!(out, " {source} {} {destination} {}", selector.sport(), selector.dport())?;
    }
    Ok(())
}
