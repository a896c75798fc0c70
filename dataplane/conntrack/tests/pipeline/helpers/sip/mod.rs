//! SIP over UDP and TCP: calls and registrations through the box, plain and translated.

mod calls;
mod registrations;
mod stream;
mod translated;

use super::session::expected;
use super::translated::{inwards, outwards, pool, router};
use super::*;
use sluice_conntrack::nat::Nat;
use sluice_conntrack::settings::{Preset, Settings};
use std::fmt::Write as _;

const PROXY: &str = "198.51.100.2:5060";

pub fn sip_on(ports: &[u16]) -> Assignment {
    Assignment { helper: HelperId::Sip, ..ftp_on(ports) }
}

/// A wire that lets in what is RELATED.
fn wire_with_helper(preset: Preset) -> Middlebox {
    with_helpers(Middlebox::with(Settings::of(preset, ROOM), firewall()), [sip_on(&[5060])])
}

fn router_with_helper(preset: Preset, nat: Nat) -> Middlebox {
    with_helpers(router(preset, nat, 1500), [sip_on(&[5060])])
}

fn masquerading(preset: Preset) -> Middlebox {
    router_with_helper(preset, outwards(pool("203.0.113.1")))
}

/// A phone inside, and its proxy.
fn phone() -> Pair {
    Pair::at("10.0.0.2:5060", PROXY)
}

/// What the proxy sends to a masqueraded phone.
fn to_public() -> Pair {
    Pair::at(PROXY, "203.0.113.1:5060")
}

/// A message of a first line, headers and a body, with its length and, if it has one, its type.
pub fn message(first: &str, headers: &[&str], body: &str) -> String {
    let mut text = format!("{first}\r\n");
    for header in headers {
        write!(text, "{header}\r\n").unwrap();
    }
    if !body.is_empty() {
        text += "Content-Type: application/sdp\r\n";
    }
    write!(text, "Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    text
}

/// A description of one audio stream.
fn sdp(address: &str, port: u16) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n\
         a=rtpmap:0 PCMU/8000\r\n"
    )
}

/// A request of a phone which is reached there, with this number.
fn request(method: &str, at: &str, number: u32, body: &str) -> String {
    let host = at.split(':').next().unwrap();
    message(
        &format!("{method} sip:bob@198.51.100.2 SIP/2.0"),
        &[
            &format!("Via: SIP/2.0/UDP {at};branch=z9hG4bK1"),
            &format!("From: <sip:alice@{host}>;tag=1"),
            "To: <sip:bob@198.51.100.2>",
            &format!("Call-ID: call1@{host}"),
            &format!("CSeq: {number} {method}"),
            &format!("Contact: <sip:alice@{at}>"),
        ],
        body,
    )
}

/// The proxy's response to such a request of a phone that is known to it there.
fn response(code: u32, method: &str, at: &str, number: u32, body: &str) -> String {
    let host = at.split(':').next().unwrap();
    message(
        &format!("SIP/2.0 {code} Whatever"),
        &[
            &format!("Via: SIP/2.0/UDP {at};branch=z9hG4bK1"),
            &format!("From: <sip:alice@{host}>;tag=1"),
            "To: <sip:bob@198.51.100.2>;tag=2",
            "Call-ID: call1@10.0.0.2",
            &format!("CSeq: {number} {method}"),
            "Contact: <sip:bob@198.51.100.2:5060>",
        ],
        body,
    )
}

fn invite(port: u16) -> String {
    request("INVITE", "10.0.0.2:5060", 1, &sdp("10.0.0.2", port))
}

fn accepted(port: u16) -> String {
    response(200, "INVITE", "10.0.0.2:5060", 1, &sdp("198.51.100.2", port))
}

/// What is expected, in the order of its text.
fn all(it: &Middlebox) -> Vec<String> {
    let mut all = expected(it);
    all.sort();
    all
}

/// Media that comes to a phone inside.
fn to_phone(port: u16) -> String {
    format!("198.51.100.2 > 10.0.0.2 {port}")
}

fn to_proxy(port: u16) -> String {
    format!("10.0.0.2 > 198.51.100.2 {port}")
}
