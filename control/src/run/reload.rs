//! What a new configuration may change while packets flow, and what takes a restart.

use crate::config::Config;

/// The keys that differ and cannot be changed while running. `capacity` is what the table was made for.
pub fn needs_restart(running: &Config, wanted: &Config, capacity: u64) -> Vec<String> {
    let mut keys = Vec::new();
    let mut differs = |key: &str, different: bool| {
        if different {
            keys.push(key.to_owned());
        }
    };
    differs("system.cores", running.system.cores != wanted.system.cores);
    differs("system.idle", running.system.idle != wanted.system.idle);
    differs("system.memory", running.system.memory != wanted.system.memory);
    differs("interfaces", !running.interfaces.keys().eq(wanted.interfaces.keys()));
    for (name, interface) in &wanted.interfaces {
        if let Some(before) = running.interfaces.get(name) {
            differs(&format!("interfaces.{name}.device"), before.device != interface.device);
            differs(&format!("interfaces.{name}.mtu"), before.mtu != interface.mtu);
        }
    }
    differs("conntrack.max-entries", wanted.conntrack.max_entries.0 > capacity);
    differs("metrics.listen", running.metrics != wanted.metrics);
    differs("control.socket", running.control != wanted.control);
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERFACES: &str = "interfaces: {a: {device: 'vdev:net_null0'}, b: {device: 'vdev:net_null1'}}";

    fn config(interfaces: &str, rest: &str) -> Config {
        let text = format!("version: 1\n{interfaces}\n{rest}");
        crate::config::parse("test", text.as_bytes()).unwrap()
    }

    #[test]
    fn what_a_shard_works_by_changes_while_running() {
        let running = config(INTERFACES, "conntrack: {max-entries: 1000}");
        let rest = "conntrack: {max-entries: 500, preset: linux, tcp: {loose: false}, timeouts: {icmp: 5}}\n\
                    policy: {default: accept}\nuntracked: [{protocol: udp}]";
        let interfaces =
            "interfaces: {a: {device: 'vdev:net_null0', zone: 3}, b: {device: 'vdev:net_null1'}}";
        assert!(needs_restart(&running, &config(interfaces, rest), 1000).is_empty());
    }

    #[test]
    fn what_was_taken_at_start_does_not() {
        let running = config(INTERFACES, "conntrack: {max-entries: 1000}");
        let cases = [
            (INTERFACES, "system: {cores: {workers: [0]}}", "system.cores"),
            (INTERFACES, "system: {memory: {hugepages: 2G}}", "system.memory"),
            (INTERFACES, "conntrack: {max-entries: 1001}", "conntrack.max-entries"),
            (INTERFACES, "metrics: {listen: '127.0.0.1:1'}", "metrics.listen"),
            (INTERFACES, "control: {socket: /tmp/other}", "control.socket"),
            ("interfaces: {a: {device: 'vdev:net_null0'}, c: {device: 'vdev:net_null1'}}", "", "interfaces"),
            (
                "interfaces: {a: {device: 'vdev:net_null0'}, b: {device: 'vdev:net_null2'}}",
                "",
                "interfaces.b.device",
            ),
        ];
        for (interfaces, rest, key) in cases {
            let rest = match rest.starts_with("conntrack") {
                true => rest.to_owned(),
                false => format!("conntrack: {{max-entries: 1000}}\n{rest}"),
            };
            assert_eq!(needs_restart(&running, &config(interfaces, &rest), 1000), [key]);
        }
    }
}
