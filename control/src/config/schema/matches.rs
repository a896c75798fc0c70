//! What a rule looks at: the keys that all kinds of rules have in common.

/// Hands the keys to another macro, with whatever else that is told: their description, name, type and example.
macro_rules! match_keys {
    ($then:ident! { $($rest:tt)* }) => {
        $then! {
            [
                /// Interfaces the packet came in by; `local` is the box itself, for what it sends (an interface's `host`).
                #[serde(rename = "in")]
                in_: List<String> = &"inside";

                /// Interfaces it is about to leave by; for the policy, `local` is the box itself.
                out: List<String> = &"outside";

                /// Address family: ipv4 or ipv6.
                family: Family = Family::Ipv4;

                /// Source addresses, or sets of them as "@blocked".
                source: List<Addresses> = "10.0.0.0/8";

                /// Destination addresses, or sets of them as "@blocked".
                destination: List<Addresses> = "198.51.100.7";

                /// Protocols, by name or number.
                protocol: List<Protocol> = &"tcp";

                /// Source ports.
                source_port: List<PortRange> = "1024-65535";

                /// Destination ports.
                destination_port: List<PortRange> = 80;

                /// ICMP types. Without a protocol, a name means both families, a number means ICMP.
                icmp_type: List<IcmpType> = "echo-request";

                /// The connection's mark.
                mark: Mark = 7;

                /// Conntrack zone.
                zone: u16 = 1;

                /// Status of the connection: seen-reply, assured, confirmed, snat, dnat.
                status: List<Status> = Status::Dnat;
            ]
            $($rest)*
        }
    };
}

/// A kind of rule: a name, what it looks at, and keys of its own.
macro_rules! rule {
    (
        [$($(#[$about:meta])* $key:ident: $value:ty = $example:expr;)*]
        $(#[$of_rule:meta])* pub struct $rule:ident { $($own:tt)* }
    ) => {
        $(#[$of_rule])*
        pub struct $rule {
            $(
                $(#[$about])*
                #[serde(skip_serializing_if = "Option::is_none")]
                #[garde(skip)]
                #[schemars(example = $example)]
                pub $key: Option<$value>,
            )*
            $($own)*
        }
    };
}

/// What a rule of another kind looks at, as a rule of the policy that does nothing.
macro_rules! matches_of {
    ([$($(#[$about:meta])* $key:ident: $value:ty = $example:expr;)*] $rule:ident) => {
        impl $rule {
            /// What the rule looks at, as a rule that does nothing.
            pub(crate) fn matches(&self) -> Rule {
                Rule { $($key: Clone::clone(&self.$key),)* ..Rule::default() }
            }
        }
    };
}

pub(super) use {match_keys, matches_of, rule};
