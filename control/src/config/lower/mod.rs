//! From the file's types to the plain data that the tracking crate takes.

mod groups;
mod helpers;
mod nat;
mod policy;
mod routes;
mod settings;

use sluice_conntrack::forward::MAX_PORTS;
use sluice_conntrack::helpers::Helpers;
use sluice_conntrack::mss_clamp::{self, MssClamp};
use sluice_conntrack::nat::Nat;
use sluice_conntrack::policy::Policy;
use sluice_conntrack::{Configuration, Verify};

use super::path::Problem;
use super::schema::{self, Config, Interface};
use super::values::MssLimit;

pub use groups::quotas;
pub use nat::nat;
pub use routes::reroute;
pub use settings::{resolved, settings};

/// All that a shard works by. Fails only for a configuration that [`check`](super::check) refuses.
pub fn lower(config: &Config) -> Result<Configuration, Problem> {
    let mut zones = [0; MAX_PORTS];
    for (zone, interface) in zones.iter_mut().zip(config.interfaces.values()) {
        *zone = interface.zone;
    }
    let settings = settings(&config.conntrack);
    let configuration = Configuration::new(settings, policy::policy(config)?, routes::forwarding(config)?);
    let mss_clamp = MssClamp::new(config.interfaces.values().map(mss_limit));
    let renumbers = config.nat.renumber;
    let helpers = helpers::helpers(config)?;
    let groups = groups::groups(config);
    let verify = match config.ha.as_ref().map(|ha| ha.verify) {
        Some(schema::Verify::Policy) => Verify::Policy,
        Some(schema::Verify::None) | None => Verify::None,
    };
    Ok(Configuration {
        zones,
        renumbers,
        mss_clamp,
        helpers,
        groups,
        verify,
        ..configuration.with_nat(nat::nat(config)?)
    })
}

/// The rules that may look for addresses in named sets.
#[derive(Clone, Debug)]
pub struct LoweredRules {
    policy: Policy,
    helpers: Helpers,
    nat: Nat,
}

/// Those of a configuration. Fails only for one that [`check`](super::check) refuses.
pub fn lower_rules(config: &Config) -> Result<LoweredRules, Problem> {
    let (policy, helpers) = (policy::policy(config)?, helpers::helpers(config)?);
    Ok(LoweredRules { policy, helpers, nat: nat::nat(config)? })
}

impl LoweredRules {
    /// A configuration with these rules, which differ from its own in what sets hold alone.
    pub fn put_in(self, configuration: &Configuration) -> Configuration {
        configuration.with_rules(self.policy, self.helpers, self.nat)
    }
}

/// What SYNs may offer at an interface, and its MTU.
fn mss_limit(interface: &Interface) -> (mss_clamp::MssLimit, u16) {
    let limit = match interface.mss {
        None => mss_clamp::MssLimit::None,
        Some(MssLimit::Pmtu) => mss_clamp::MssLimit::Pmtu,
        Some(MssLimit::Bytes(bytes)) => mss_clamp::MssLimit::Bytes(bytes),
    };
    (limit, interface.mtu)
}

#[cfg(test)]
mod tests {
    use sluice_conntrack::PortId;

    use super::*;

    /// A box with two ports, and the rest of its configuration.
    pub(super) fn config(rest: &str) -> Config {
        let interfaces = "{inside: {device: 'vdev:net_null0'}, outside: {device: 'vdev:net_null1'}}";
        let text = format!("version: 1\ninterfaces: {interfaces}\n{rest}");
        crate::config::parse("test", text.as_bytes()).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn what_the_rfcs_ask_beyond_linux_is_set_key_by_key() {
        let set = |text: &str| {
            let lowered = lower(&config(text)).unwrap();
            (lowered.settings.quote_checksum, lowered.settings.reject_when_full, lowered.renumbers)
        };
        assert_eq!(set(""), (false, false, false));
        assert_eq!(set("conntrack: {quote-checksum: true}"), (true, false, false));
        assert_eq!(set("conntrack: {reject-when-full: true}"), (false, true, false));
        assert_eq!(set("nat: {renumber: true}"), (false, false, true));
    }

    #[test]
    fn the_maximum_segment_size_is_clamped_where_that_is_said() {
        use mss_clamp::MssLimit::{Bytes, None, Pmtu};
        let mut config = config("");
        assert_eq!(lower(&config).unwrap().mss_clamp, MssClamp::default());
        config.interfaces.get_mut("outside").unwrap().mss = Some("pmtu".parse().unwrap());
        assert_eq!(lower(&config).unwrap().mss_clamp, MssClamp::new([(None, 1500), (Pmtu, 1500)]));
        config.interfaces.get_mut("inside").unwrap().mss = Some("1220".parse().unwrap());
        assert_eq!(lower(&config).unwrap().mss_clamp, MssClamp::new([(Bytes(1220), 1500), (Pmtu, 1500)]));
        for wrong in ["87", "65536", "mtu", "-1", ""] {
            assert!(wrong.parse::<MssLimit>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_empty_file_has_the_default_policy() {
        assert_eq!(lower(&config("")).unwrap().policy, sluice_conntrack::policy::Policy::default().into());
    }

    #[test]
    fn zones_come_from_interfaces_and_rules() {
        let mut config = config("zones: [{in: inside, source: 10.1.0.0/16, zone: 7}]");
        config.interfaces.get_mut("outside").unwrap().zone = 3;
        let lowered = lower(&config).unwrap();
        assert_eq!(lowered.zones[..3], [0, 3, 0]);
        let [(matches, zone)] = &lowered.policy.zones[..] else { panic!("one rule") };
        assert_eq!((matches.zone, *zone), (None, 7));
        assert_eq!(matches.ingress, [PortId(0)]);
    }
}
