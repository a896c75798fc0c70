//! SYN cookies: what clients can be offered, what is refused and how.

use super::{parse, refusal, with};

fn rule(action: &str) -> String {
    with(&format!("policy: {{rules: [{{protocol: tcp, action: {action}}}]}}"))
}

#[test]
fn what_is_offered_is_written_back_as_it_is_read() {
    for action in [
        "synproxy",
        "{synproxy: {mss: 1400, wscale: 9, sack-perm: false}}",
        "{synproxy: {mss: 1460, sack-perm: true}}",
    ] {
        let config = parse(&rule(action)).unwrap();
        let written = serde_yaml::to_string(&config.policy.rules[0].action).unwrap();
        let expected: serde_yaml::Value = serde_yaml::from_str(action).unwrap();
        assert_eq!(serde_yaml::from_str::<serde_yaml::Value>(&written).unwrap(), expected);
    }
    let usual = parse(&rule("{synproxy: {wscale: 7, sack-perm: true}}")).unwrap();
    assert_eq!(usual, parse(&rule("synproxy")).unwrap(), "the rest has defaults");
}

#[test]
fn what_cannot_be_offered_is_refused() {
    for (action, said) in [
        ("{synproxy: {mss: 40}}", "no maximum segment size"),
        ("{synproxy: {wscale: 15}}", "the largest window scale is 14"),
        ("{synproxy: {timestamp: true}}", "timestamp"),
        ("{synproxy: 1460}", "what clients are offered (mss, wscale, sack-perm)"),
        ("synprox", "synproxy"),
    ] {
        let refusal = refusal(&rule(action));
        assert!(refusal.contains(said), "{action}: {refusal}");
    }
    for (matches, said) in [
        ("protocol: udp", "SYNs are of TCP alone"),
        ("zone: 0", "SYNs are of TCP alone"),
        ("protocol: tcp, state: [established, invalid]", "a SYN that begins a connection is NEW"),
    ] {
        let refusal = refusal(&with(&format!("policy: {{rules: [{{{matches}, action: synproxy}}]}}")));
        assert!(refusal.contains(said), "{matches}: {refusal}");
    }
}
