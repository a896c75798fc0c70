//! LinkType types of captures, and how their packets become Ethernet frames.

/// What a captured packet begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkType {
    /// Ethernet.
    Ethernet,
    /// An IP header of either version.
    Ip,
    /// Four bytes that name the address family, in the byte order of the capturing machine or the network's.
    Loop {
        /// Whether the number is big-endian.
        big_endian: bool,
    },
    /// Linux "cooked", version 1: what `tcpdump -i any` wrote for long.
    Cooked,
    /// Linux "cooked", version 2: what it writes now.
    Cooked2,
}

/// The addresses of frames made up here, for what had no Ethernet header: locally administered.
const DESTINATION: [u8; 6] = [0x02, 0, 0, 0, 0, 0x02];
const SOURCE: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
/// IEEE 802's EtherType for local experiments: what is neither IPv4 nor IPv6.
const OTHER: u16 = 0x88b5;

impl LinkType {
    /// The link type of a number of the registry (draft-ietf-opsawg-pcaplinktype), in a capture of this byte order.
    ///
    /// # Errors
    /// The number, where it is none of those above.
    pub const fn of(number: u32, big_endian: bool) -> Result<Self, u32> {
        match number {
            1 => Ok(Self::Ethernet),
            12 | 14 | 101 | 228 | 229 => Ok(Self::Ip),
            0 => Ok(Self::Loop { big_endian }),
            108 => Ok(Self::Loop { big_endian: true }),
            113 => Ok(Self::Cooked),
            276 => Ok(Self::Cooked2),
            _ => Err(number),
        }
    }

    /// Writes the Ethernet frame of a packet into `frame`. A packet too short for its header becomes a frame too short
    /// for its own.
    pub fn frame(self, bytes: &[u8], frame: &mut Vec<u8>) {
        frame.clear();
        match self {
            Self::Ethernet => frame.extend(bytes),
            Self::Ip => write(frame, SOURCE, ip_version(bytes), bytes),
            Self::Loop { big_endian } => {
                let Some((number, packet)) = bytes.split_first_chunk() else { return };
                let number =
                    if big_endian { u32::from_be_bytes(*number) } else { u32::from_le_bytes(*number) };
                write(frame, SOURCE, family(number), packet);
            }
            Self::Cooked => {
                // Packet type, hardware type, address length (2 bytes each), address (8), protocol (2).
                let Some((header, packet)) = bytes.split_first_chunk::<16>() else { return };
                let [.., high, low] = *header;
                write_cooked(frame, header[5], &header[6..12], u16::from_be_bytes([high, low]), packet);
            }
            Self::Cooked2 => {
                // Protocol (2 bytes), reserved (2), interface (4), hardware type (2), packet type (1), address length
                // (1), address (8).
                let Some((header, packet)) = bytes.split_first_chunk::<20>() else { return };
                let protocol = u16::from_be_bytes([header[0], header[1]]);
                write_cooked(frame, header[11], &header[12..18], protocol, packet);
            }
        }
    }
}

fn write(frame: &mut Vec<u8>, source: [u8; 6], ethertype: u16, packet: &[u8]) {
    frame.extend(DESTINATION);
    frame.extend(source);
    frame.extend(ethertype.to_be_bytes());
    frame.extend(packet);
}

/// A cooked packet has its sender's address, if that is a MAC address, and Linux's number of its protocol: those
/// below 0x600 are Linux's own, for frames without an EtherType.
fn write_cooked(frame: &mut Vec<u8>, address_len: u8, address: &[u8], protocol: u16, packet: &[u8]) {
    let source = match address.first_chunk() {
        Some(mac) if address_len == 6 => *mac,
        _ => SOURCE,
    };
    let ethertype = if protocol < 0x600 { OTHER } else { protocol };
    write(frame, source, ethertype, packet);
}

fn ip_version(packet: &[u8]) -> u16 {
    match packet.first().map(|byte| byte >> 4) {
        Some(4) => IPV4,
        Some(6) => IPV6,
        _ => OTHER,
    }
}

/// IPv4 has one number everywhere; IPv6 has one in each BSD, another in macOS, and Linux's and Windows' own.
const fn family(number: u32) -> u16 {
    match number {
        2 => IPV4,
        10 | 23 | 24 | 28 | 30 => IPV6,
        _ => OTHER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(number: u32, big_endian: bool, bytes: &[u8]) -> Vec<u8> {
        let mut frame = vec![0xee];
        LinkType::of(number, big_endian).unwrap().frame(bytes, &mut frame);
        frame
    }

    fn ethernet(source: u8, ethertype: [u8; 2], packet: &[u8]) -> Vec<u8> {
        [&[2, 0, 0, 0, 0, 2], &[2, 0, 0, 0, 0, source][..], &ethertype, packet].concat()
    }

    #[test]
    fn each_link_type_becomes_ethernet() {
        let v4 = [0x45, 1, 2, 3];
        let v6 = [0x60, 1, 2, 3];
        assert_eq!(frame(1, false, &v4), v4);
        for number in [12, 14, 101, 228] {
            assert_eq!(frame(number, false, &v4), ethernet(1, [8, 0], &v4));
        }
        assert_eq!(frame(229, false, &v6), ethernet(1, [0x86, 0xdd], &v6));
        assert_eq!(frame(101, false, &[]), ethernet(1, [0x88, 0xb5], &[]));

        assert_eq!(frame(0, false, &[&[2, 0, 0, 0], &v4[..]].concat()), ethernet(1, [8, 0], &v4));
        assert_eq!(frame(0, true, &[&[0, 0, 0, 2], &v4[..]].concat()), ethernet(1, [8, 0], &v4));
        assert_eq!(frame(108, false, &[&[0, 0, 0, 30], &v6[..]].concat()), ethernet(1, [0x86, 0xdd], &v6));

        let cooked = [&[0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 7, 0, 0, 8, 0], &v4[..]].concat();
        assert_eq!(frame(113, false, &cooked), ethernet(7, [8, 0], &v4));
        let loopback = [&[0, 0, 3, 4, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9, 0, 1], &v4[..]].concat();
        assert_eq!(frame(113, false, &loopback), ethernet(1, [0x88, 0xb5], &v4));
        let cooked2 = [&[0x86, 0xdd, 0, 0, 0, 0, 0, 3, 0, 1, 0, 6, 2, 0, 0, 0, 0, 7, 0, 0], &v6[..]].concat();
        assert_eq!(frame(276, false, &cooked2), ethernet(7, [0x86, 0xdd], &v6));
    }

    #[test]
    fn a_packet_without_its_header_is_no_frame() {
        for number in [0, 108, 113, 276] {
            assert!(frame(number, false, &[1, 2]).is_empty());
        }
        assert_eq!(LinkType::of(105, false), Err(105));
    }
}
