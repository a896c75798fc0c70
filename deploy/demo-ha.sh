#!/usr/bin/env bash
# Has the active one of two boxes end under traffic, and shows what that cost: demo-ha.sh SLUICE [RUN] (SLUICE is the built command).
# The boxes run in network namespaces, by the files of deploy/two-boxes, each with a redis-server and a keepalived. The runs:
#   process     Sluice is killed (kill -9)
#   box         all cables of the box are pulled at once
#   planned     `sluice ha demote`
#   conntrackd  as `box`, but the boxes are Linux routers with conntrackd, by the files of deploy/conntrackd
set -euo pipefail

sluice=$(realpath "$1")
files=$(realpath "$(dirname "$0")/two-boxes")
linux_files=$(realpath "$(dirname "$0")/conntrackd")
traffic=$(realpath "$(dirname "$0")/demo-ha.py")
out=target/demo-ha
connections=2000
seconds=12

if [ $# = 1 ]; then
    rm -f "$out/summary.json"
    for run in process box planned conntrackd; do "$0" "$sluice" "$run"; done
    cat <<END

Machine: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores, Linux $(uname -r), load average $(cut -d ' ' -f 1 /proc/loadavg).
Figures are in $out/summary.json. How such a pair is set up: docs/two-boxes.md.
END
    exit
fi
run=$2

fail() { echo "demo-ha: $1" >&2; exit 1; }

[ "$(id -u)" = 0 ] || fail "network namespaces need root: sudo make demo-ha"
for program in ip ethtool python3 redis-server keepalived conntrackd conntrack nft iperf3 ssh ssh-keygen /usr/sbin/sshd; do
    command -v "$program" >/dev/null || fail "there is no $program: deploy/dependencies.sh demo_ha installs what is needed"
done

mkdir -p "$out"
directory=$(mktemp -d)
prefix=sluice-demo-$$
started=()

# Programs end by their ids, the last one first; what they leave lies in the directory and in the namespaces.
clean_up() {
    local at
    for at in a b; do [ ! -e "$directory/$at/pid" ] || kill -KILL "$(<"$directory/$at/pid")" 2>/dev/null || true; done
    for ((at = ${#started[@]} - 1; at >= 0; at--)); do kill "${started[at]}" 2>/dev/null || true; done
    wait
    for at in client a b server switch; do ip netns delete "$prefix-$at" 2>/dev/null || true; done
    rm -rf "$directory"
}
trap clean_up EXIT
trap 'exit 1' INT TERM

inside() { local at=$1; shift; ip netns exec "$prefix-$at" "$@"; }

# Starts a program in a namespace, with a log of its own: start NAMESPACE LOG PROGRAM ...
start() {
    local at=$1 log=$directory/$2
    shift 2
    ip netns exec "$prefix-$at" "$@" >"$log" 2>&1 </dev/null &
    started+=("$!")
}

# Waits until a command succeeds: wait_for WHAT COMMAND ...
wait_for() {
    local what=$1 left=750
    shift
    until "$@"; do
        ((left-- > 0)) || { tail -n 5 "$directory"/*/log "$directory"/*/keepalived >&2; fail "waited too long for $what"; }
        sleep 0.02
    done
}

# plug HOST INTERFACE BRIDGE: a cable from a host to a switch.
plug() {
    ip link add "$3-$1" netns "$prefix-switch" type veth peer name "$2" netns "$prefix-$1"
    ip -n "$prefix-switch" link set "$3-$1" master "$3" up
    ip -n "$prefix-$1" link set "$2" up
}

make_network() {
    local at
    for at in client a b server switch; do
        ip netns add "$prefix-$at"
        ip -n "$prefix-$at" link set lo up
        inside "$at" sysctl -qw net.ipv6.conf.all.disable_ipv6=1
    done
    for at in inside outside; do ip -n "$prefix-switch" link add "$at" up type bridge; done
    plug client eth0 inside
    plug server eth0 outside
    for at in a b; do plug $at inside inside; plug $at outside outside; done
    # What a NIC would be left to do has nobody to do it here: frames stay as long as they are on a cable.
    for at in client server; do inside $at ethtool -K eth0 tso off gso off >/dev/null; done
    ip -n "$prefix-client" address add 10.0.0.9/24 dev eth0
    ip -n "$prefix-client" route add default via 10.0.0.1
    ip -n "$prefix-server" address add 203.0.113.254/24 dev eth0
    ip link add ha0 netns "$prefix-a" type veth peer name ha0 netns "$prefix-b"
    ip -n "$prefix-a" address add 10.99.0.1/24 dev ha0
    ip -n "$prefix-b" address add 10.99.0.2/24 dev ha0
    for at in a b; do ip -n "$prefix-$at" link set ha0 up; done
}

# run_daemon NAME DIRECTORY: as systemd does by track.conf, it says in the track file that the daemon has ended, however it ended.
run_daemon() {
    (
        echo "$BASHPID" >"$2/pid"
        exec ip netns exec "$prefix-$1" "$sluice" run -c "$2/sluice.yaml" >"$2/log" 2>&1 </dev/null
    ) || true
    echo 2 >"$2/track"
}

# start_box NAME NUMBER PRIORITY: as docs/two-boxes.md has it, but that kernel NICs stand in for devices, and a shell for systemd.
start_box() {
    local name=$1 number=$2 priority=$3 own=$directory/$1
    mkdir "$own"
    start "$name" "$name/redis" redis-server --port 6380 --bind "10.99.0.$number" --protected-mode no \
        --unixsocket "$own/redis.sock" --save "" --appendonly no --dir "$own"
    wait_for "redis-server of $name" [ -S "$own/redis.sock" ]

    sed -e "s|'pci:0000:01:00.0'|'vdev:net_af_packet0,iface=inside'|" \
        -e "s|'pci:0000:01:00.1'|'vdev:net_af_packet1,iface=outside'|" \
        -e "s|to: 203.0.113.16-203.0.113.31|masquerade: true|" \
        -e "s|/run/redis-sluice|$own|; s|/run/sluice-track/state|$own/track|" "$files/$name.yaml" >"$own/sluice.yaml"
    cat >>"$own/sluice.yaml" <<END
system: { cores: { control: 0, workers: [$(((number - 1) % $(nproc)))] }, memory: { hugepages: 512M } }
conntrack: { max-entries: 16K }
metrics: { listen: '127.0.0.1:0' }
control: { socket: $own/control.sock }
END
    echo 2 >"$own/track"
    run_daemon "$name" "$own" 2>/dev/null &
    wait_for "box $name to stand by" tracked "$name" 0

    sed -e "s|router_id sluice-a|router_id sluice-$name|; s|priority 254|priority $priority|" \
        -e "s|/run/sluice-track/state|$own/track|g; s|/run/sluice-notify|$own/notify|" \
        -e "s|/usr/bin/sluice ha notify|$sluice ha notify --socket $own/control.sock|" "$files/keepalived.conf" >"$own/keepalived.conf"
    start "$name" "$name/keepalived" keepalived -n -l -P -f "$own/keepalived.conf" -p "$own/keepalived.pid" -r "$own/vrrp.pid"
}

# start_linux_box NAME NUMBER PRIORITY: a Linux router that tells the other one by conntrackd.
start_linux_box() {
    local name=$1 number=$2 priority=$3 own=$directory/$1 file
    mkdir "$own"
    for file in conntrackd.conf keepalived.conf notify; do
        sed -e "s|router_id linux-a|router_id linux-$name|; s|priority 254|priority $priority|; s|/run/conntrackd|$own|" \
            "$linux_files/$file" >"$own/$file"
    done
    [ "$name" = a ] || sed -i "/^    UDP/,/^    }/{s|10.99.0.1|10.99.0.X|; s|10.99.0.2|10.99.0.1|; s|10.99.0.X|10.99.0.2|}" "$own/conntrackd.conf"
    chmod 755 "$own/notify"
    ip -n "$prefix-$name" address add "10.0.0.$((number + 1))/24" dev inside
    ip -n "$prefix-$name" address add "203.0.113.$((number + 1))/24" dev outside
    inside "$name" sysctl -qw net.ipv4.ip_forward=1 net.netfilter.nf_conntrack_tcp_loose=0
    inside "$name" nft -f "$linux_files/rules.nft"
    start "$name" "$name/conntrackd" conntrackd -C "$own/conntrackd.conf"
    wait_for "conntrackd of $name" [ -S "$own/socket" ]
    start "$name" "$name/keepalived" keepalived -n -l -P -f "$own/keepalived.conf" -p "$own/keepalived.pid" -r "$own/vrrp.pid"
}

tracked() { [ "$(<"$directory/$1/track")" = "$2" ]; }
ask() { "$sluice" "${@:2}" --socket "$directory/$1/control.sock" 2>/dev/null; }
is_active() {
    if [ "$run" = conntrackd ]; then
        ip -n "$prefix-$1" -br address show dev inside | grep -q 10.0.0.1/
    else
        ask "$1" ha status | grep -q "group g1 active:"
    fi
}
# The standby knows of the session, of iperf3's two connections, and of these.
knows() { [ "$(known "$1")" -ge "$2" ] 2>/dev/null; }
known() {
    if [ "$run" = conntrackd ]; then
        inside "$1" conntrackd -C "$directory/$1/conntrackd.conf" -e | grep -c ESTABLISHED
    else
        ask "$1" conntrack -C -p tcp --standby
    fi
}
reaches() { inside client ping -n -c 1 -W 1 203.0.113.254 >/dev/null; }
listens() { inside server ss -Hltn "sport = $1" | grep -q LISTEN; }

start_servers() {
    local own=$directory/server at
    mkdir -p "$own" /run/sshd
    ssh-keygen -q -t ed25519 -N "" -f "$own/host_key"
    ssh-keygen -q -t ed25519 -N "" -f "$own/key"
    printf '%s\n' "HostKey $own/host_key" "AuthorizedKeysFile $own/key.pub" "PidFile none" "StrictModes no" "UsePAM no" \
        "PermitRootLogin yes" >"$own/sshd_config"
    start server server/sshd /usr/sbin/sshd -D -e -f "$own/sshd_config"
    start server server/iperf3 iperf3 -s
    start server server/log python3 "$traffic" serve 7
    for at in 22 5201 7; do wait_for "the server's port $at" listens $at; done
}

make_network
start_servers
case "$run" in
    conntrackd) starts=start_linux_box; echo "Two Linux routers start, each with its conntrackd and its keepalived." ;;
    *) starts=start_box; echo "Two boxes start, each with its redis-server and its keepalived." ;;
esac
$starts a 1 254
$starts b 2 250
wait_for "box a to be active" is_active a
wait_for "the way through box a" reaches
[ "$run" = conntrackd ] || wait_for "box b to know all of box a" tracked b 0

echo "$connections TCP connections, a flow of UDP, iperf3 and an SSH session are under way through box a."
coproc client { inside client python3 "$traffic" measure 203.0.113.254 7 "$connections" "$seconds" \
    "ssh -T -i $directory/server/key -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR root@203.0.113.254 cat" \
    "$out/summary.json" "$run"; }
client_id=$!
started+=("$client_id")
exec {answers}<&"${client[0]}"
read -r _ <&"$answers" || fail "the traffic did not get through"
wait_for "box b to know the connections" knows b $((connections + 3))

echo killed >&"${client[1]}"
case "$run" in
    process)
        echo "Sluice of box a is killed (kill -9)."
        kill -KILL "$(<"$directory/a/pid")" ;;
    planned)
        echo "Box a hands over (sluice ha demote)."
        ask a ha demote g1 >/dev/null ;;
    *)
        echo "All cables of box a are pulled."
        # That between the boxes first: a box that has died says nothing.
        ip -n "$prefix-a" link set ha0 down
        ip -n "$prefix-switch" -b - <<<$'link set inside-a down\nlink set outside-a down' ;;
esac
wait_for "box b to be active" is_active b
echo "Box b is active."
echo
cat <&"$answers"
wait "$client_id"
echo
