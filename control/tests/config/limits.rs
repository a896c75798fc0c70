//! Limits of rules: what is taken, what is refused and how.

use super::{parse, refusal, with};

fn rule(limit: &str) -> String {
    with(&format!("policy: {{rules: [{{state: new, limit: {limit}, action: accept}}]}}"))
}

#[test]
fn limits_are_written_back_as_they_are_read() {
    for limit in [
        "{rate: 10/s, burst: 5, ipv4-prefix: 32, ipv6-prefix: 64, over: false}",
        "{rate: 3/m, burst: 100, by: source, ipv4-prefix: 24, ipv6-prefix: 56, over: true}",
        "{rate: 100/d, burst: 1, by: destination, ipv4-prefix: 0, ipv6-prefix: 0, over: false}",
    ] {
        let config = parse(&rule(limit)).unwrap();
        let written = serde_yaml::to_string(&config.policy.rules[0].limit).unwrap();
        let expected: serde_yaml::Value = serde_yaml::from_str(limit).unwrap();
        assert_eq!(serde_yaml::from_str::<serde_yaml::Value>(&written).unwrap(), expected);
    }
    assert!(parse(&rule("{rate: 1/second}")).is_ok(), "the rest has defaults");
}

#[test]
fn limits_that_cannot_be_are_refused() {
    for (limit, said) in [
        ("{}", "rate"),
        ("10/s", "expected a limit, such as { rate: 10/s, burst: 5 }"),
        ("{rate: 10}", "a rate such as 10/s"),
        ("{rate: 0/s}", "lets nothing through"),
        ("{rate: 2000000/s}", "too often"),
        ("{rate: 1/s, burst: 0}", "one packet at once"),
        ("{rate: 1/d, burst: 31}", "longer than 30 days"),
        ("{rate: 1/s, by: sauce}", "source"),
        ("{rate: 1/s, ipv4-prefix: 33}", "32 bits"),
        ("{rate: 1/s, ipv6-prefix: 129}", "128 bits"),
        ("{rate: 1/s, above: true}", "above"),
    ] {
        let refusal = refusal(&rule(limit));
        assert!(refusal.contains(said), "{limit}: {refusal}");
    }
    let early = refusal(&with("untracked: [{protocol: udp, limit: {rate: 1/s}}]"));
    assert!(early.contains("a rule of `untracked` has no limit"), "{early}");
}
