//! Helpers by name, as `sluice helpers` shows them.

use sluice_conntrack::counters::Counters;
use sluice_conntrack::helpers::{HelperEvent, HelperId, Helpers};

use crate::config::{Config, Helper, HelperRule};
use crate::socket::protocol::HelperStatistics;

/// Those that connections may get, and what came of each.
pub fn list(helpers: &Helpers, counters: &Counters) -> Vec<HelperStatistics> {
    let row = |helper: HelperId| {
        let number = helper as usize;
        let count = |event: HelperEvent| counters.helper_events[number][event as usize];
        HelperStatistics {
            helper: helper.name().to_owned(),
            on: helpers.is_on(helper),
            connections: counters.helper_connections[number],
            assigned: counters.helper_assignments[number],
            expectations: counters.helper_expectations[number],
            promised: count(HelperEvent::Expected),
            met: count(HelperEvent::Met),
            expired: count(HelperEvent::Expired),
            refused: count(HelperEvent::Refused),
            turned_off: HelperEvent::ALL
                .iter()
                .filter(|event| event.turns_off())
                .map(|event| count(*event))
                .sum(),
            events: HelperEvent::ALL.iter().map(|event| (event.label().to_owned(), count(*event))).collect(),
        }
    };
    HelperId::ALL.into_iter().filter(|helper| helpers.assigns(*helper)).map(row).collect()
}

/// What assigns them, as it would stand in a list in the configuration file.
pub fn rules(config: &Config) -> Vec<HelperRule> {
    let named =
        |helper: Option<HelperId>, rule: &HelperRule| HelperRule { name: helper.map(Helper), ..rule.clone() };
    config.helpers.iter().map(|(_, helper, rule)| named(helper, rule)).collect()
}

/// The helper of that name, if it is one that connections may get.
///
/// # Errors
/// It is none: in words for the user.
pub fn named(helpers: &Helpers, name: &str) -> Result<HelperId, String> {
    match HelperId::named(name) {
        Some(helper) if helpers.assigns(helper) => Ok(helper),
        Some(_) => Err(format!(
            "no connection gets the helper {name}: write it under `helpers` in the configuration file"
        )),
        None => Err(format!("there is no helper `{name}`; there are {}", Helper::names().join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn helpers(text: &str) -> (Config, Helpers) {
        let text = format!(
            "{{version: 1, {text}, interfaces: {{a: {{device: 'vdev:net_null0'}}, b: {{device: 'vdev:net_null1'}}}}}}"
        );
        let config = crate::config::parse("test", text.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
        let lowered = crate::config::lower(&config).unwrap().helpers;
        (config, lowered)
    }

    #[test]
    fn those_that_are_assigned_are_listed() {
        let (_, mut some) = helpers("helpers: {ftp: {}}");
        some.switch(HelperId::Ftp, false);
        let mut counters = Counters::default();
        counters.helper_connections[HelperId::Ftp as usize] = 2;
        let events = &mut counters.helper_events[HelperId::Ftp as usize];
        for (event, count) in [
            (HelperEvent::Expected, 5),
            (HelperEvent::Met, 3),
            (HelperEvent::Encrypted, 1),
            (HelperEvent::Malformed, 1),
        ] {
            events[event as usize] = count;
        }
        let [ftp] = &list(&some, &counters)[..] else { panic!("one is assigned") };
        assert_eq!((ftp.helper.as_str(), ftp.on, ftp.connections), ("ftp", false, 2));
        assert_eq!((ftp.promised, ftp.met, ftp.turned_off, ftp.events["encrypted"]), (5, 3, 2, 1));
    }

    #[test]
    fn those_of_expected_connections_are_listed() {
        let (_, some) = helpers("helpers: {RAS: {}}");
        let listed: Vec<String> =
            list(&some, &Counters::default()).into_iter().map(|row| row.helper).collect();
        assert_eq!(listed, ["RAS", "Q.931", "H.245"]);
        assert_eq!(named(&some, "H.245"), Ok(HelperId::H245));
    }

    #[test]
    fn rules_are_shown_as_a_list_has_them() {
        let shown = |text: &str| serde_json::to_string(&rules(&helpers(text).0)).unwrap();
        assert_eq!(
            shown("helpers: {ftp: {ports: [21, 2121], in: a}}"),
            shown("helpers: [{name: ftp, in: a, ports: [21, 2121]}]")
        );
        assert!(shown("helpers: {ftp: {in: a}}").contains(r#""name":"ftp""#));
    }

    #[test]
    fn only_those_can_be_switched() {
        let (_, some) = helpers("helpers: {ftp: {}}");
        assert_eq!(named(&some, "ftp"), Ok(HelperId::Ftp));
        assert!(named(&some, "tftp").unwrap_err().contains("under `helpers`"));
        assert!(named(&some, "gopher").unwrap_err().contains("ftp, tftp"));
    }
}
