#!/usr/bin/env bash
# Records sample.inside.pcap and sample.outside.pcap anew: what real clients and servers send through a
# box that stands between them (README.md says what, and draws the network). Run as root.
#
# The script runs itself again in namespaces of its own, where it is the box and process 1. Whatever it
# starts, mounts and configures ends with it; the machine keeps nothing but the files it records.
set -euo pipefail
PATH=/usr/sbin:/usr/bin:/sbin:/bin # Debian's programs, and no others of their names

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [ "${1:-}" != in-namespaces ]; then
    "$here/../../deploy/dependencies.sh" record
    exec unshare --net --mount --pid --fork --kill-child --mount-proc "$here/record.sh" in-namespaces
fi

say() { printf '%s\n' "-- $*"; }

# Asks the shell command $2 ten times a second, for ten seconds at most, until it holds.
await() {
    for _ in $(seq 100); do
        if eval "$2"; then return; fi
        sleep 0.1
    done
    say "gave up waiting for $1"
    exit 1
}

# Prints the process that keeps a new network and mount namespace.
new_namespace() {
    unshare --net --mount sleep infinity >/dev/null &
    await "a namespace" "[ \$(readlink /proc/$!/ns/net) != \$(readlink /proc/self/ns/net) ] &&
        [ \$(readlink /proc/$!/ns/mnt) != \$(readlink /proc/self/ns/mnt) ]"
    echo $!
}

# Joins $1.$2 and $3.$4 (process and device name) by a cable.
cable() {
    ip link add "$2" netns "$1" type veth peer name "$4" netns "$3"
}

# Brings device $2 of namespace $1 up with hardware address $3. With its offloads on, the kernel would
# pass on segments larger than the MTU, and checksums not yet filled in.
bring_up() {
    nsenter -t "$1" -n ip link set "$2" address "$3"
    nsenter -t "$1" -n ethtool -K "$2" rx off tx off sg off tso off gso off gro off >/dev/null
    nsenter -t "$1" -n ip link set "$2" up
}

client=$(new_namespace)
router=$(new_namespace)
server=$(new_namespace)
box=$$

at() { nsenter -t "$1" -n -m "${@:2}"; }
inside() { at "$client" "$@"; }
beyond() { at "$router" "$@"; }
outside() { at "$server" "$@"; }

# ---------------------------------------------------------------------------------------- the network

sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
for namespace in "$client" "$router" "$server"; do
    at "$namespace" ip link set lo up
    at "$namespace" sysctl -qw net.ipv6.conf.{all,default}.accept_ra=0 \
        net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0
done

cable "$client" eth0 "$box" inside
cable "$router" wan "$box" outside
cable "$router" lan "$server" eth0

ip link add bridge type bridge mcast_snooping 0
ip link set inside master bridge
ip link set outside master bridge
ip link set bridge up
bring_up "$box" inside 02:00:00:00:00:11
bring_up "$box" outside 02:00:00:00:00:12
bring_up "$client" eth0 02:00:00:00:00:02
bring_up "$router" wan 02:00:00:00:00:01
bring_up "$router" lan 02:00:00:00:01:01
bring_up "$server" eth0 02:00:00:00:01:02

inside ip address add 10.0.0.2/8 dev eth0
inside ip address add fd00:1::2/64 dev eth0
inside ip route add default via 198.51.100.1 dev eth0 onlink
inside ip route add default via fe80::1 dev eth0

# The router has the same outside address on both sides, so its ICMP errors come from there.
beyond sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
beyond ip address add 198.51.100.1/32 dev wan
beyond ip address add fe80::1/64 dev wan
beyond ip address add 198.51.100.1/24 dev lan
beyond ip address add 2001:db8::1/64 dev lan
beyond ip route add 10.0.0.0/8 dev wan src 198.51.100.1
beyond ip route add fd00::/8 dev wan
beyond nft -f - <<'RULES'
table inet filter {
    chain forward {
        type filter hook forward priority filter
        tcp dport 81 reject with icmpx port-unreachable
        ip daddr 198.51.100.98 reject with icmpx admin-prohibited
        ip6 daddr 2001:db8::98 reject with icmpx admin-prohibited
    }
}
RULES

outside ip address add 198.51.100.2/24 dev eth0
outside ip address add 198.51.100.3/24 dev eth0
outside ip address add 2001:db8::2/64 dev eth0
outside ip route add default via 198.51.100.1
outside ip route add default via 2001:db8::1

for namespace in "$client" "$router" "$server"; do
    await "its addresses" "[ -z \"\$(nsenter -t $namespace -n ip -6 address show tentative)\" ]"
done

# ---------------------------------------------------------------------------------------- the servers

# A memory file system over /srv, seen by this run alone, holds whatever is served, written or logged.
# Debian's anonymous FTP user lives in /srv/ftp.
for namespace in "$client" "$server" "$box"; do
    at "$namespace" mount -t tmpfs -o mode=755 tmpfs /srv
done
outside mkdir -p /srv/ftp /srv/empty
outside sh -c 'seq -f "<p>This is line %05g of a page.</p>" 1 1300 >/srv/ftp/page.html'
outside sh -c 'seq -f "Line %05g of a file to transfer." 1 400 >/srv/ftp/file.txt'
outside chmod a+r /srv/ftp/page.html /srv/ftp/file.txt

outside tee /srv/vsftpd.conf >/dev/null <<'CONF'
listen=NO
listen_ipv6=YES
background=NO
anonymous_enable=YES
secure_chroot_dir=/srv/empty
connect_from_port_20=YES
seccomp_sandbox=NO
xferlog_enable=NO
CONF
outside tee /srv/ngircd.conf >/dev/null <<'CONF'
[Global]
Name = irc.example.org
Info = A server to record
Listen = 198.51.100.2
MotdPhrase = Welcome
ServerGID = nogroup
ServerUID = nobody
[Limits]
PingTimeout = 8
[Options]
DNS = no
Ident = no
PAM = no
CONF

serve() { outside "$@" >"/srv/$1.log" 2>&1 & }
serve python3 -m http.server --protocol HTTP/1.1 --bind :: --directory /srv/ftp 80
serve dnsmasq --keep-in-foreground --conf-file=/dev/null --pid-file= --user=nobody --group=nogroup \
    --no-hosts --no-resolv --local=/example.org/ \
    --host-record=www.example.org,198.51.100.2,2001:db8::2 --host-record=irc.example.org,198.51.100.2
serve vsftpd /srv/vsftpd.conf
serve in.tftpd --foreground --secure /srv/ftp
serve ngircd --nodaemon --config /srv/ngircd.conf
for port in 21 53 69 80 6667; do
    await "a server on port $port" "[ -n \"\$(nsenter -t $server -n ss -Hltun sport = :$port)\" ]"
done

# The client asks this name server, as a host does.
inside sh -c 'echo nameserver 198.51.100.2 >/srv/resolv.conf; mount --bind /srv/resolv.conf /etc/resolv.conf'

# -------------------------------------------------------------------------------------- the recording

for side in inside outside; do
    tcpdump --interface "$side" --direction in --time-stamp-precision=nano --snapshot-length 0 \
        --immediate-mode --relinquish-privileges=root -n -w "/srv/sample.$side.pcap" 2>"/srv/tcpdump.$side.log" &
    tcpdumps+=" $!"
    await "tcpdump" "grep -q 'listening on' /srv/tcpdump.$side.log"
done

# Runs a client inside. Its exit status must be $1.
expect() {
    local status=0
    say "${*:2}"
    inside "${@:2}" >/srv/output 2>&1 || status=$?
    [ "$status" = "$1" ] && return
    cat /srv/output
    say "status $status where $1 was expected"
    exit 1
}
fetch() { expect 0 curl -sS -o /dev/null "$@"; }

say "an IRC session that lasts until the end, and a file offered in it"
inside python3 "$here/irc.py" alice &
outside timeout 20 python3 "$here/irc.py" bob

expect 0 dig www.example.org A
expect 0 dig www.example.org AAAA @2001:db8::2
expect 0 dig +tcp www.example.org A
expect 0 dig absent.example.org A

expect 0 ping -n -c 3 -i 0.5 198.51.100.2
expect 0 ping -n -c 3 -i 0.5 2001:db8::2
expect 0 ping -n -c 2 -i 0.5 -s 3000 198.51.100.2
expect 0 ping -n -c 2 -i 0.5 -s 3000 2001:db8::2

fetch -4 http://www.example.org/page.html
fetch -6 http://www.example.org/page.html

fetch --ftp-pasv --disable-epsv ftp://198.51.100.2/file.txt
fetch --ftp-port - --disable-eprt ftp://198.51.100.2/file.txt
fetch --ftp-pasv 'ftp://[2001:db8::2]/file.txt'
fetch --ftp-port - 'ftp://[2001:db8::2]/file.txt'

expect 0 tftp -m binary 198.51.100.2 -c get file.txt /srv/file.txt
expect 0 tftp -6 -m binary 2001:db8::2 -c get file.txt /srv/file.txt

say "a download that the client aborts"
inside python3 - <<'PYTHON'
import socket, struct
stream = socket.socket()
stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
stream.connect(("198.51.100.2", 80))
stream.sendall(b"GET /page.html HTTP/1.1\r\nHost: www.example.org\r\n\r\n")
stream.recv(4000, socket.MSG_WAITALL)
stream.close()
PYTHON

# Port 8080 is closed. The router rejects port 81 and host 98, and cannot find host 99.
# curl's status 7 is a connection that failed, dig's 9 is no answer.
for prefix in 198.51.100. 2001:db8::; do
    case $prefix in
        *:) url="http://[$prefix%s]:%s/" ;;
        *) url="http://$prefix%s:%s/" ;;
    esac
    for target in "2 8080" "2 81" "98 80" "99 80"; do
        # shellcheck disable=SC2059,SC2086 # the format is the point, and the target two words
        expect 7 curl -sS "$(printf "$url" $target)"
    done
    expect 9 dig -p 5300 +tries=1 +time=5 www.example.org "@${prefix}2"
    expect 9 dig +tries=1 +time=5 www.example.org "@${prefix}98"
    expect 9 dig +tries=1 +time=5 www.example.org "@${prefix}99"
done

for host in 198.51.100.2 2001:db8::2; do
    expect 0 traceroute -n "$host"
    expect 0 traceroute -n -I "$host"
done

sleep 1
for pid in $tcpdumps; do
    kill "$pid"
    wait "$pid"
done

# ------------------------------------------------------------------------------------------ the result

say "checking"
"$here/check.sh" /srv
install -m 644 /srv/sample.inside.pcap /srv/sample.outside.pcap "$here"
{
    echo "Recorded $(date -u +'%Y-%m-%d %H:%M') UTC, Linux $(uname -r), Debian $(cat /etc/debian_version), with"
    dpkg-query -W -f='${Package} ${Version}\n' bind9-dnsutils curl dnsmasq-base iputils-ping \
        ngircd python3 tcpdump tftp-hpa tftpd-hpa traceroute vsftpd
} >"$here/sample.txt"
