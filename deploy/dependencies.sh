#!/usr/bin/env bash
# Installs the Debian packages that a purpose needs: dependencies.sh PURPOSE ...
# Prints nothing and asks for no rights where all of them are there already.
set -euo pipefail

# shellcheck disable=SC2034 # each list is read by its name
{
    build="libdpdk-dev dpdk libclang-dev libpcap-dev pkg-config"
    demo_ha="conntrack conntrackd ethtool iperf3 iproute2 iputils-ping keepalived nftables openssh-client openssh-server procps python3 redis-server"
    test="amanda-client bind9-dnsutils bird2 conntrack curl dnsmasq-base ethtool ffmpeg frr g++ iperf3 iproute2 iputils-ping keepalived lftp lua5.4"
    test+=" iptables nfdump nftables ngircd openssh-client openssh-server openssl pptp-linux pptpd procps prometheus python3-irc python3-scapy python3-venv redis-server rsyslog sane-utils sip-tester tftp-hpa"
    test+=" tftpd-hpa traceroute udhcpc valgrind vsftpd"
    lint="shellcheck"
    record="bind9-dnsutils curl dnsmasq-base ethtool iproute2 iputils-ping nftables ngircd procps python3 tcpdump"
    record+=" tftp-hpa tftpd-hpa traceroute vsftpd"
    # The LLVM of the compiler: it reads what that counts.
    pgo="llvm-22"
    bench="openvswitch-switch-dpdk valgrind"
}

packages=""
for purpose in "$@"; do
    packages+=" ${!purpose:?unknown purpose $purpose}"
done

missing=""
for package in $packages; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=" $package"
done
[ -z "$missing" ] && exit 0

echo "Installing$missing"
sudo=""
[ "$(id -u)" = 0 ] || sudo=sudo

# It is programs that are needed, not services: keep a package from starting one.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap '$sudo rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | $sudo install -m 755 /dev/stdin "$policy"
fi

export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq
# shellcheck disable=SC2086 # word splitting is what makes the list
$sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
