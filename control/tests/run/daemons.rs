//! Daemons that a router has beside it, on the box's own network stack: sshd, FRR, keepalived and a DHCP client speak through its
//! ports, by its policy.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::box_under_test::{text, wait_for};
use crate::host::{Hosted, POLICY, pings};
use crate::namespaces::{Host, Namespace};

const FOLLOW: &str = "{ follow: host }";

const OPEN: &str = "policy: { default: accept }\n";

/// Starts a program of a daemon with its files in the directory of the box.
fn start(at: Namespace<'_>, program: &str, arguments: &str) -> Host {
    Host(at.command(program, arguments).spawn().unwrap())
}

/// Whether a host hears another, in one try.
fn hears(from: Namespace<'_>, to: &str) -> bool {
    from.run("ping", &format!("-n -c 1 -W 1 {to}")).status.success()
}

/// Asks a daemon to end, and waits until it has.
fn terminate(mut daemon: Host) {
    let pid = daemon.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    daemon.0.wait().unwrap();
}

#[test]
fn one_logs_in_to_the_box_and_from_it() {
    let routes = "[{ to: 0.0.0.0/0, via: 203.0.113.2, dev: outside }, { to: '::/0', via: '2001:db8:2::2', dev: outside }]";
    let Some(it) = Hosted::with_routes("sshd", "0", routes, POLICY) else { return };
    let [client, server, host] = it.namespaces();
    let path = |name: &str| it.daemon.path(name).display().to_string();
    for key in ["host-key", "key"] {
        let made =
            Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", &path(key)]).status();
        assert!(made.unwrap().success());
    }
    fs::create_dir_all("/run/sshd").unwrap(); // where sshd confines itself
    let options = format!(
        "-D -e -f /dev/null -h {} -o AuthorizedKeysFile={} -o StrictModes=no -o UsePAM=no -o PidFile=none",
        path("host-key"),
        path("key.pub")
    );
    let _servers = [host, server].map(|at| at.serve(22, "/usr/sbin/sshd", &options));
    for (from, to, own) in [
        (client, "10.0.0.1", "10.0.0.2"),
        (client, "fd00:1::1", "fd00:1::2"),
        (host, "203.0.113.2", "203.0.113.1"),
        (host, "198.51.100.1", "203.0.113.1"),
        (host, "2001:db8:3::1", "2001:db8:2::1"),
    ] {
        let said = from.tell(
            "ssh",
            &format!(
                "-F none -i {} -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
                 -o ConnectTimeout=60 root@{to} echo $SSH_CONNECTION",
                path("key")
            ),
        );
        assert!(said.starts_with(&format!("{own} ")), "{said}");
        let listed = it.daemon.tell(&format!("conntrack -L -p tcp --dport 22 -s {own} -d {to} -u ASSURED"));
        assert!(listed.contains(&format!("src={own} dst={to} ")), "{listed}");
    }
    // Nobody outside may begin to.
    let refused = server.run("ssh", "-F none -o BatchMode=yes -o ConnectTimeout=1 root@203.0.113.1 true");
    assert!(!refused.status.success());
}

/// FRR's daemons of one router, by what stands in each one's file.
fn frr(it: &Hosted, at: Namespace<'_>, daemons: &[(&str, &str)]) -> Vec<Host> {
    let path = |name: &str| it.daemon.path(name).display().to_string();
    let directory = path("frr");
    fs::create_dir_all(&directory).unwrap();
    // They run as a user of their own.
    for (directory, mode) in [(it.daemon.directory.path(), 0o755), (it.daemon.path("frr").as_path(), 0o777)] {
        fs::set_permissions(directory, fs::Permissions::from_mode(mode)).unwrap();
    }
    let start = |(name, config): &(&str, &str)| {
        let (file, pid) = (path(&format!("frr/{name}.conf")), path(&format!("frr/{name}.pid")));
        fs::write(&file, config).unwrap();
        let more = if *name == "bfdd" { format!(" --bfdctl {directory}/bfdd.sock") } else { String::new() };
        let arguments = format!(
            "-f {file} -i {pid} -z {directory}/zserv.api --vty_socket {directory} -P 0 --log file:{directory}/log{more}"
        );
        let host = start(at, &format!("/usr/lib/frr/{name}"), &arguments);
        wait_for(name, || it.daemon.path(&format!("frr/{name}.vty")).exists());
        host
    };
    daemons.iter().map(start).collect()
}

/// FRR on the box and BIRD on its peer: OSPF tells of one network, BGP of another; BFD, of 50 ms and three times, notices the end
/// of the peer, and traffic takes what stood behind its routes.
#[test]
fn frr_decides_where_packets_go() {
    let Some(it) = Hosted::with_routes("frr", "0", FOLLOW, OPEN) else { return };
    let [client, server, host] = it.namespaces();
    server.tell("ip", "address add 198.51.101.1/32 dev lo");
    server.tell("ip", "address add 203.0.113.3/24 dev eth0");
    let _near = frr(
        &it,
        host,
        &[
            ("zebra", ""),
            ("staticd", "ip route 198.51.101.0/24 203.0.113.3 250\n"),
            (
                "bfdd",
                "bfd\n peer 203.0.113.2\n  receive-interval 50\n  transmit-interval 50\n  detect-multiplier 3\n",
            ),
            (
                "ospfd",
                "interface outside\n ip ospf hello-interval 1\n ip ospf dead-interval 20\nrouter ospf\n \
                 ospf router-id 203.0.113.1\n network 203.0.113.0/24 area 0\n",
            ),
            (
                "bgpd",
                "router bgp 65001\n bgp router-id 203.0.113.1\n no bgp ebgp-requires-policy\n \
                 neighbor 203.0.113.2 remote-as 65002\n neighbor 203.0.113.2 timers connect 1\n \
                 neighbor 203.0.113.2 bfd\n",
            ),
        ],
    );
    let [config, socket, pid] = ["bird.conf", "bird.ctl", "bird.pid"].map(|name| it.daemon.path(name));
    fs::write(
        &config,
        "router id 203.0.113.2;
         protocol device {}
         protocol bfd { interface \"*\" { interval 50 ms; multiplier 3; }; }
         protocol ospf v2 {
             ipv4 { export none; };
             area 0 { stubnet 198.51.100.0/24; interface \"eth0\" { hello 1; dead 20; }; };
         }
         protocol static { ipv4; route 198.51.101.0/24 blackhole; }
         protocol bgp {
             local 203.0.113.2 as 65002; neighbor 203.0.113.1 as 65001; bfd on; connect delay time 1; error wait time 1, 2;
             ipv4 { import none; export where source = RTS_STATIC; };
         }\n",
    )
    .unwrap();
    let arguments = format!("-f -c {} -s {} -P {}", config.display(), socket.display(), pid.display());
    let far = start(server, "bird", &arguments);
    for (to, protocol) in [("198.51.100.0/24", "ospf"), ("198.51.101.0/24", "bgp")] {
        let line = format!("{to} via 203.0.113.2 dev outside proto {protocol} ");
        wait_for(&line, || it.daemon.tell("routes").contains(&line));
        pings(client, &to.replace(".0/24", ".1"));
    }
    drop(far);
    wait_for("the other route", || it.daemon.tell("routes get 198.51.101.1").contains(" via 203.0.113.3 "));
    pings(client, "198.51.101.1");
}

/// The virtual address of two routers by VRRP, the box and a host beside it on its link.
const VIRTUAL: &str = "10.0.0.100";

fn keepalived(it: &Hosted, at: Namespace<'_>, (name, interface, priority): (&str, &str, u8)) -> Host {
    let path = |end: &str| it.daemon.path(&format!("{name}.{end}")).display().to_string();
    let config = format!(
        "global_defs {{ router_id {name} }}
         vrrp_instance inside {{
             state BACKUP
             interface {interface}
             virtual_router_id 7
             priority {priority}
             advert_int 1
             virtual_ipaddress {{ {VIRTUAL}/24 }}
         }}\n"
    );
    fs::write(path("keepalived"), config).unwrap();
    let arguments = format!("-n -l -P -f {} -p {} -r {}", path("keepalived"), path("pid"), path("vrrp-pid"));
    let mut command = at.command("keepalived", &arguments);
    Host(command.stdout(fs::File::create(path("log")).unwrap()).spawn().unwrap())
}

#[test]
fn vrrp_is_heard_and_spoken_through_the_box() {
    let Some(it) = Hosted::with_routes("vrrp", "0", FOLLOW, POLICY) else { return };
    let [client, _, host] = it.namespaces();
    client.tell("sysctl", "-qw net.ipv4.conf.eth0.arp_accept=1");
    let has = |at: Namespace<'_>, interface: &str| {
        at.tell("ip", &format!("address show dev {interface}")).contains(&format!("inet {VIRTUAL}/24"))
    };
    let beside = keepalived(&it, client, ("beside", "eth0", 100));
    wait_for("the only router to be master", || has(client, "eth0"));
    // The box hears the other, whose priority is lower, and tells it so.
    let own = keepalived(&it, host, ("box", "inside", 150));
    wait_for("the box to be master", || has(host, "inside") && !has(client, "eth0"));
    pings(client, VIRTUAL);
    let groups = it.daemon.tell("conntrack -L -d 224.0.0.18");
    assert!(groups.contains("src=10.0.0.1 dst=224.0.0.18") && groups.contains("src=10.0.0.2 "), "{groups}");
    // It goes, and the other one takes over; it comes again, and is master again.
    terminate(own);
    wait_for("the other to be master", || has(client, "eth0") && !has(host, "inside"));
    wait_for("its answer", || hears(host, VIRTUAL));
    let own = keepalived(&it, host, ("box", "inside", 150));
    wait_for("the box to be master again", || has(host, "inside") && !has(client, "eth0"));
    pings(client, VIRTUAL);
    // Nobody else is left when it comes for the last time: who has the address as well does not learn who else has it.
    terminate(beside);
    terminate(own);
    wait_for("the end of both", || !has(client, "eth0") && !has(host, "inside"));
    client.tell("ip", "neighbour flush dev eth0");
    let _own = keepalived(&it, host, ("box", "inside", 150));
    let learnt = || client.tell("ip", &format!("neighbour show {VIRTUAL}")).contains("lladdr");
    wait_for("gratuitous ARP", learnt);
}

/// What the DHCP client is told it does.
const LEASE: &str = "#!/bin/sh
[ \"$1\" = bound ] || exit 0
ip address add \"$ip/$mask\" dev \"$interface\"
ip route add default via \"$router\" dev \"$interface\"
";

#[test]
fn the_box_gets_its_addresses_from_dhcp_and_router_advertisements() {
    let rest = format!("nat: {{ source: [{{ out: outside, masquerade: true }}] }}\n{OPEN}");
    let Some(it) = Hosted::with_routes("dhcp", "0", FOLLOW, &rest) else { return };
    let [client, server, host] = it.namespaces();
    // The file has none for it: until there is a lease, nobody can be masqueraded.
    let outside = it
        .config
        .split("  outside:")
        .nth(1)
        .and_then(|rest| rest.lines().find(|line| line.contains("addresses:")));
    it.reload(&it.config.replace(outside.unwrap(), ""), &rest);
    wait_for("no address outside", || !host.tell("ip", "-4 address show dev outside").contains("inet "));
    assert!(!client.run("ping", "-n -c 1 -W 1 198.51.100.1").status.success());
    // A provider's other network, and its router on the same link.
    server.tell("ip", "address add 192.0.2.1/24 dev eth0");
    server.tell("ip", "address add 2001:db8:7::1/64 dev eth0 nodad");
    let path = |name: &str| it.daemon.path(name).display().to_string();
    let arguments = format!(
        "-k -C /dev/null --port=0 --interface=eth0 --bind-interfaces --dhcp-authoritative --enable-ra --user=root \
         --dhcp-leasefile={} --pid-file={} --dhcp-range=192.0.2.70,192.0.2.70,255.255.255.0 --dhcp-option=3,192.0.2.1 \
         --dhcp-range=2001:db8:7::,ra-only,64",
        path("leases"),
        path("dnsmasq.pid")
    );
    let _dnsmasq = server.serve(67, "dnsmasq", &arguments);
    fs::write(path("lease"), LEASE).unwrap();
    assert!(Command::new("chmod").args(["+x", &path("lease")]).status().unwrap().success());
    let asked = host.run("udhcpc", &format!("-i outside -f -q -n -t 30 -T 1 -s {}", path("lease")));
    assert!(asked.status.success(), "{}{}", text(&asked.stdout), text(&asked.stderr));

    // The box has them, answers for them, and hides behind them.
    wait_for("the address of the lease", || {
        it.daemon.tell("routes").contains("192.0.2.0/24 dev outside proto kernel src 192.0.2.70\n")
    });
    wait_for("the way out", || {
        it.daemon.tell("routes get 198.51.100.1").contains("via 192.0.2.1 dev outside")
    });
    pings(server, "192.0.2.70");
    pings(client, "198.51.100.1");
    // What nobody answers is not over yet.
    client.tell("bash", "-c echo>/dev/udp/198.51.100.1/67");
    let listed = it.daemon.tell("conntrack -L -p udp -s 10.0.0.2 -d 198.51.100.1");
    assert!(listed.contains("src=198.51.100.1 dst=192.0.2.70"), "{listed}");
    wait_for("an address by router advertisement", || {
        it.daemon.tell("routes").contains("2001:db8:7::/64 dev outside")
    });
    wait_for("a way out", || it.daemon.tell("routes get 2001:db8:3::1").contains("dev outside"));
    pings(client, "2001:db8:3::1");
}
