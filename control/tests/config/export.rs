//! Who is told of connections: what is refused.

use super::{parse, refusal, with};

#[test]
fn a_flow_is_told_of_now_and_then_or_at_its_end_alone() {
    let export = |timeout: &str| {
        with(&format!("export: {{ipfix: [{{to: 'udp://192.0.2.6:4739', active-timeout: {timeout}}}]}}"))
    };
    for (timeout, seconds) in [("0", None), ("10s", Some(10)), ("1d", Some(86_400))] {
        assert_eq!(parse(&export(timeout)).unwrap().export.active_timeout(), seconds);
    }
    let refusal = refusal(&export("9s"));
    assert!(refusal.contains("9s is too short; the least is 10s") && refusal.contains(":3:"), "{refusal}");
    let usual =
        with("export: {ipfix: [{to: 'udp://192.0.2.6:4739'}, {to: 'tcp://192.0.2.6:1', flows: none}]}");
    assert_eq!(parse(&usual).unwrap().export.active_timeout(), Some(1800));
}
