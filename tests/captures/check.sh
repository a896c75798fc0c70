#!/usr/bin/env bash
# Checks that a capture has all that README.md says and nothing else: check.sh [DIRECTORY].
set -euo pipefail

cd "${1:-$(dirname "${BASH_SOURCE[0]}")}"
failed=0

frames() { tcpdump -nr "sample.$1.pcap" "${@:2}" 2>/dev/null; }

# Says so unless side $1 has $2 frames (or with a +: at least so many) that match the filter $3.
holds() {
    local count
    count=$(frames "$1" "$3" | wc -l)
    case $2 in
        *+) [ "$count" -ge "${2%+}" ] && return ;;
        *) [ "$count" -eq "$2" ] && return ;;
    esac
    echo "$1: $count frames where $2 were expected: $3"
    failed=1
}

# The same of text in the frames.
says() {
    grep -aqF "$2" "sample.$1.pcap" && return
    echo "$1: nowhere says $2"
    failed=1
}

syn='tcp[tcpflags] & (tcp-syn | tcp-ack) == tcp-syn'
syn_ack='tcp[tcpflags] & (tcp-syn | tcp-ack) == (tcp-syn | tcp-ack)'
rst='tcp[tcpflags] & tcp-rst != 0'
syn6='ip6[6] == 6 and ip6[53] & 0x12 == 0x02'
rst6='ip6[6] == 6 and ip6[53] & 0x04 != 0'
local='(arp or (icmp6 and ip6[40] >= 133 and ip6[40] <= 136) or (ip6[6] == 0 and ip6[48] == 143))'

# Each frame came from its side, whole, no longer than the MTU, and with its checksums right. Those of the
# link itself (ARP, neighbour discovery, reports of multicast listeners) have addresses of their own.
holds inside 0 'not ether src 02:00:00:00:00:02'
holds inside 0 "not (src net 10.0.0.0/8 or src net fd00::/8 or $local)"
holds outside 0 'not ether src 02:00:00:00:00:01'
holds outside 0 "not (src net 198.51.100.0/24 or src net 2001:db8::/32 or $local)"
for side in inside outside; do
    holds $side 0 'greater 1515'
    if frames $side -vv | grep -iE 'truncated-ip|cksum 0x[0-9a-f]+ \(incorrect|(bad|wrong) [a-z0-9 ]*cksum'; then
        echo "$side: truncated, or a wrong checksum"
        failed=1
    fi
done

# Name service: over UDP, over TCP, and a name that is not there.
holds inside 5+ 'udp dst port 53 and dst host 198.51.100.2'
holds inside 1 'udp dst port 53 and dst host 2001:db8::2'
holds inside 1 "tcp dst port 53 and $syn"
holds outside 1 'ip and udp src port 53 and udp[11] & 0x0f == 3'

# Web pages, and the one that the client aborts.
holds inside 2 "dst port 80 and dst host 198.51.100.2 and $syn"
holds inside 1 "dst port 80 and dst host 2001:db8::2 and $syn6"
holds outside 60+ 'tcp src port 80 and greater 1400'
holds inside 1+ "dst port 80 and $rst"

# Echoes, six of 64 bytes, four in three fragments, and those of traceroute.
holds inside 3 'icmp[icmptype] == icmp-echo and less 98 and greater 98'
holds outside 3 'icmp[icmptype] == icmp-echoreply and less 98 and greater 98'
holds inside 3 'icmp6 and ip6[40] == 128 and less 118 and greater 118'
holds outside 3 'icmp6 and ip6[40] == 129 and less 118 and greater 118'
for side in inside outside; do
    holds $side 6 'ip[6:2] & 0x3fff != 0'
    holds $side 6 'ip6 protochain 44'
done

# FTP: PASV, PORT, EPSV and EPRT, and the data connection of each.
holds inside 2 "dst port 21 and $syn"
holds inside 2 "dst port 21 and $syn6"
holds inside 1 "dst host 198.51.100.2 and not dst port (21 or 53 or 80 or 81 or 6667 or 8080) and $syn"
holds inside 1 "dst host 2001:db8::2 and not dst port (21 or 80 or 81 or 8080) and $syn6"
holds outside 1 "src port 20 and $syn"
holds outside 1 "src port 20 and $syn6"
says inside 'PASV'
says outside '227 Entering Passive Mode (198,51,100,2,'
says inside 'PORT 10,0,0,2,'
says inside 'EPSV'
says outside '229 Entering Extended Passive Mode (|||'
says inside 'EPRT |2|fd00:1::2|'

# TFTP: the requests, and the data from ports of their own.
holds inside 2 'udp dst port 69'
holds outside 54 '(udp and udp[8:2] == 3 and not src port 53) or (ip6[6] == 17 and ip6[48:2] == 3)'

# IRC, the file that alice offers, and bob's connection to her for it.
holds inside 1 "dst port 6667 and $syn"
holds outside 0 'src port 6667 and tcp[tcpflags] & tcp-fin != 0'
says inside 'DCC SEND file.txt 167772162 '
holds outside 1 "src host 198.51.100.3 and $syn"
holds inside 1 "dst host 198.51.100.3 and $syn_ack"

# Connections refused by the host itself, and by a router in several words.
holds outside 1 "src port 8080 and $rst"
holds outside 1 "src port 8080 and $rst6"
for transport in 6 17; do
    holds outside 1+ "icmp[0:2] == 0x0301 and icmp[17] == $transport"
    holds outside 1+ "icmp[0:2] == 0x0303 and icmp[17] == $transport"
    holds outside 1+ "icmp[0:2] == 0x030d and icmp[17] == $transport"
    holds outside 1+ "ip6[40:2] == 0x0101 and ip6[54] == $transport"
    holds outside 1+ "ip6[40:2] == 0x0103 and ip6[54] == $transport"
    holds outside 1+ "ip6[40:2] == 0x0104 and ip6[54] == $transport"
done

# Traceroute: three probes that do not get past the router, by UDP and by ICMP.
for transport in 1 17; do
    holds outside 3 "icmp[0:2] == 0x0b00 and icmp[17] == $transport"
done
for transport in 58 17; do
    holds outside 3 "ip6[6] == 58 and ip6[40:2] == 0x0300 and ip6[54] == $transport"
done

exit $failed
