//! Channels: what messages of H.245 announce, over a connection that a call has announced.

use super::*;

/// The H.245 channel of a call, opened by the caller towards the called.
fn channel(mut call: Session) -> Session {
    let [client, server] = call.pairs;
    let announced = format!("{}:6000", server.source.ip());
    call.says_bytes(Server, CONNECT.with([&announced]));
    let at = |mut pair: Pair, client_port, server_port, is_server: bool| {
        let (source, destination) =
            if is_server { (server_port, client_port) } else { (client_port, server_port) };
        pair.source.set_port(source);
        pair.destination.set_port(destination);
        pair
    };
    let pairs = [at(client, 41_000, 6000, false), at(server, 41_000, 6000, true)];
    let mut channel = Session { pairs, next: [2000, 7000], awaited: [0; 2], ..call };
    channel.handshake();
    channel
}

#[test]
fn h323_h7_channels_have_rtp_come_to_an_even_port_and_rtcp_to_the_next() {
    for preset in PRESETS {
        let mut channel = channel(plain(preset));
        channel.says_bytes(Client, CAPABILITIES.with([]));
        channel.says_bytes(Client, OPEN.with(["10.0.0.2:5001"]));
        assert_eq!(all(&channel.it), media("198.51.100.2", "10.0.0.2", 5000));
        channel.says_bytes(Server, OPEN_ACK.with(["198.51.100.2:7000", "198.51.100.2:7001"]));
        assert_eq!(all(&channel.it)[..2], media("10.0.0.2", "198.51.100.2", 7000));
        let rtp = Pair::at("198.51.100.2:7000", "10.0.0.2:5000");
        assert_eq!(state(channel.it.outside(&rtp.datagram(b"rtp"))), State::Related);
        channel.it.check();
    }
}

#[test]
fn h323_channels_of_a_masqueraded_caller_are_announced_outside() {
    for preset in PRESETS {
        let mut channel = channel(masqueraded(preset));
        let said = channel.says_bytes(Client, OPEN_MEDIA.with(["10.0.0.2:5000", "10.0.0.2:5001"]));
        let outside = [5000, 5001].map(|port| format!("{PUBLIC}:{port}"));
        assert_eq!(said.bytes(), OPEN_MEDIA.with([&outside[0], &outside[1]]));
        let rtp = Pair::at("198.51.100.2:7000", &outside[0]);
        let (verdict, to) = channel.it.reaches(OUTSIDE, &rtp.datagram(b"rtp"));
        assert_eq!((state(verdict), &*to), (State::Related, "10.0.0.2:5000"));
        let said = channel.says_bytes(Server, OPEN_ACK.with(["198.51.100.2:7000", "198.51.100.2:7001"]));
        assert_eq!(said.bytes(), OPEN_ACK.with(["198.51.100.2:7000", "198.51.100.2:7001"]));
        channel.it.check();
    }
}

#[test]
fn h323_channels_of_a_published_host_are_announced_outside() {
    for preset in PRESETS {
        let mut channel = channel(published(preset));
        let said = channel.says_bytes(Server, OPEN_ACK.with(["10.0.0.5:7000", "10.0.0.5:7001"]));
        assert_eq!(said.bytes(), OPEN_ACK.with(["203.0.113.10:7000", "203.0.113.10:7001"]));
        let rtcp = Pair::at("198.51.100.9:5001", "203.0.113.10:7001");
        let (verdict, to) = channel.it.reaches(OUTSIDE, &rtcp.datagram(b"rtcp"));
        assert_eq!((state(verdict), &*to), (State::Related, "10.0.0.5:7001"));
        channel.it.check();
    }
}

#[test]
fn h323_h7_t120_may_come_several_times() {
    for preset in PRESETS {
        let mut channel = channel(plain(preset));
        channel.says_bytes(Client, OPEN_T120.with(["10.0.0.2:1503"]));
        assert_eq!(channel.expected(), ["198.51.100.2 > 10.0.0.2 1503"]);
        for port in [8000, 8001] {
            let child = Pair::at(&format!("198.51.100.2:{port}"), "10.0.0.2:1503");
            assert_eq!(state(channel.it.outside(&child.tcp("S", 1, 0))), State::Related);
        }
    }
}

#[test]
fn h323_channels_of_ipv6_are_read() {
    for preset in PRESETS {
        let pair = Pair::at("[fd00::2]:40000", "[2001:db8:9::2]:1720");
        let mut call = Session::open(wire(preset), pair, pair.inverse(), [1000, 5000]);
        call.says_bytes(Server, CONNECT_V6.with(["[2001:db8:9::2]:6000"]));
        let pair = Pair::at("[fd00::2]:41000", "[2001:db8:9::2]:6000");
        let mut channel = Session { pairs: [pair, pair.inverse()], next: [2000, 7000], ..call };
        channel.handshake();
        channel.says_bytes(Client, OPEN_ACK_V6.with(["[fd00::2]:5000", "[fd00::2]:5001"]));
        assert_eq!(all(&channel.it), media("2001:db8:9::2", "fd00::2", 5000));
    }
}
