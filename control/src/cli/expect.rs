//! `sluice conntrack` of the table `expect`: what helpers, and operators, have expected.

use std::io::{self, BufWriter, Write};
use std::net::IpAddr;

use super::ask::{Failure, Socket, unexpected};
use crate::config::Seconds;
use crate::listing::Format;
use crate::output::say;
use crate::socket::protocol::{Cursor, Request, Response};
use crate::socket::{Client, Ends, ExpectationFilter, Network, NewExpectation, Source, required};

/// One address, where a network might stand.
fn host(name: &str, given: Option<Network>) -> Result<IpAddr, String> {
    required(name, given)?.host(name)
}

/// What is expected, by the options of its tuple.
fn tuple(filter: &ExpectationFilter) -> Result<Ends, String> {
    Ok(Ends {
        src: host("tuple-src", filter.tuple_src)?,
        dst: host("tuple-dst", filter.tuple_dst)?,
        sport: filter.tuple_port_src.unwrap_or_default(),
        dport: required("tuple-port-dst", filter.tuple_port_dst)?,
    })
}

/// What of the options of `-G` is missing.
pub(super) fn check_get(filter: &ExpectationFilter) -> Result<(), String> {
    required("proto", filter.master.proto)?;
    tuple(filter).map(|_| ())
}

/// How much of the source counts, by the masks: all of it that is given, unless they say otherwise.
fn source(filter: &ExpectationFilter) -> Result<Source, String> {
    let is_all = |address: IpAddr| match address {
        IpAddr::V4(bits) => bits.to_bits() == u32::MAX,
        IpAddr::V6(bits) => bits.to_bits() == u128::MAX,
    };
    if filter.mask_dst.is_some_and(|bits| !is_all(bits))
        || filter.mask_port_dst.is_some_and(|bits| bits != u16::MAX)
    {
        return Err(
            "the destination counts as a whole: leave `--mask-dst` and `--mask-port-dst` out".to_owned()
        );
    }
    let port = filter.mask_port_src.unwrap_or(if filter.tuple_port_src.is_some() { u16::MAX } else { 0 });
    match (filter.mask_src, port) {
        (Some(bits), 0) if bits.is_unspecified() => Ok(Source::Any),
        (bits, 0) if bits.is_none_or(is_all) => Ok(Source::AnyPort),
        (bits, u16::MAX) if bits.is_none_or(is_all) => Ok(Source::Exact),
        _ => Err(
            "of a source its address and port count, its address alone (`--mask-port-src 0`), or nothing \
                  (`--mask-src 0.0.0.0 --mask-port-src 0`)"
                .to_owned(),
        ),
    }
}

/// What `-I` is to make.
///
/// # Errors
/// What of its options is missing, or cannot be.
pub(super) fn wanted(filter: &ExpectationFilter, timeout: Option<Seconds>) -> Result<NewExpectation, String> {
    let of_master = &filter.master;
    Ok(NewExpectation {
        proto: required("proto", of_master.proto)?,
        zone: of_master.zone.unwrap_or_default(),
        master: Ends {
            src: host("src", of_master.src)?,
            dst: host("dst", of_master.dst)?,
            sport: required("sport", of_master.sport)?,
            dport: required("dport", of_master.dport)?,
        },
        timeout: required("timeout", timeout)?,
        tuple: tuple(filter)?,
        source: source(filter)?,
    })
}

/// `-I`.
pub(super) fn create(socket: &Socket, new: NewExpectation) -> Result<(), Failure> {
    let request = Request::Expect(Box::new(new));
    let Response::ExpectationCreated = Client::connect(&socket.path)?.ask(&request)? else {
        return Err(unexpected());
    };
    say(&format!("sluice v{}: 1 expectations have been created.", env!("CARGO_PKG_VERSION")));
    Ok(())
}

/// `-D` and, of all, `-F`.
pub(super) fn delete(socket: &Socket, filter: ExpectationFilter, is_flush: bool) -> Result<(), Failure> {
    let request = Request::DeleteExpectations { filter: Box::new(filter) };
    let Response::ExpectationsDeleted { count } = Client::connect(&socket.path)?.ask(&request)? else {
        return Err(unexpected());
    };
    let version = env!("CARGO_PKG_VERSION");
    say(&match is_flush {
        true => format!("sluice v{version}: expectation table has been emptied."),
        false => format!("sluice v{version}: {count} expectations have been deleted."),
    });
    Ok(())
}

/// `-C`.
pub(super) fn count(socket: &Socket, filter: &ExpectationFilter) -> Result<(), Failure> {
    let fitting = expectations(socket, filter, Format::default(), |_| Ok(()))?;
    Ok(writeln!(io::stdout(), "{fitting}")?)
}

/// `-L`.
pub(super) fn list(socket: &Socket, filter: &ExpectationFilter, format: Format) -> Result<usize, Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let shown = expectations(socket, filter, format, |line| writeln!(out, "{line}"))?;
    out.flush()?;
    say(&format!("sluice v{}: {shown} expectations have been shown.", env!("CARGO_PKG_VERSION")));
    Ok(shown)
}

/// `-G`.
pub(super) fn get(socket: &Socket, filter: &ExpectationFilter, format: Format) -> Result<(), Failure> {
    let zone = filter.master.zone.or(Some(0));
    let tuple_port_src = filter.tuple_port_src.or(Some(0));
    let mut exact = ExpectationFilter { tuple_port_src, ..filter.clone() };
    exact.master.zone = zone;
    match list(socket, &exact, format)? {
        0 => Err(Failure::Other("no such expectation".to_owned())),
        _ => Ok(()),
    }
}

/// Fetches the expectations that fit, page by page, and gives how many there are.
fn expectations(
    socket: &Socket,
    filter: &ExpectationFilter,
    format: Format,
    mut show: impl FnMut(&str) -> io::Result<()>,
) -> Result<usize, Failure> {
    let (mut client, mut from, mut fitting) = (Client::connect(&socket.path)?, Cursor::default(), 0);
    loop {
        let request = Request::Expectations { filter: Box::new(filter.clone()), format: Some(format), from };
        let Response::Entries { lines, next, .. } = client.ask(&request)? else { return Err(unexpected()) };
        lines.iter().try_for_each(|line| show(line))?;
        fitting += lines.len();
        match next {
            Some(next) => from = next,
            None => return Ok(fitting),
        }
    }
}
