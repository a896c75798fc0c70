//! Named sets: what is taken, what is refused and where.

use std::fs;

use sluice::config::{self, Config};

use super::{parse, refusal, with};

const RULES: &str = "policy: {rules: [{source: ['@bad', 10.0.0.0/8], destination: '@good', action: drop}]}";

#[test]
fn rules_name_sets_and_are_written_back_so() {
    let config =
        parse(&with(&format!("sets: {{bad: {{prefixes: 192.0.2.0/24}}, good: {{}}}}\n{RULES}"))).unwrap();
    let written = config::to_yaml(&config);
    assert!(
        written.contains("- '@bad'\n    - 10.0.0.0/8") && written.contains("destination: '@good'"),
        "{written}"
    );
    assert_eq!(parse(&written).unwrap(), config);
}

#[test]
fn names_are_those_of_sets() {
    for (rest, said) in [
        (RULES.to_owned(), "there is no set `bad`"),
        (format!("sets: {{bda: {{}}, good: {{}}}}\n{RULES}"), "did you mean `@bda`?"),
        ("nat: {source: [{out: b, source: '@none', keep: true}]}".to_owned(), "there is no set `none`"),
        ("untracked: [{source: '@none'}]".to_owned(), "there is no set `none`"),
        ("zones: [{source: '@none', zone: 1}]".to_owned(), "there is no set `none`"),
        ("helpers: [{name: ftp, destination: '@none'}]".to_owned(), "there is no set `none`"),
        ("policy: {rules: [{source: '@', action: drop}]}".to_owned(), "cannot be the name of a set"),
        ("policy: {rules: [{source: '@a b', action: drop}]}".to_owned(), "cannot be the name of a set"),
        ("sets: {'a b': {}}".to_owned(), "`a b` cannot be a name"),
        ("sets: {a: {prefixes: 10.0.0.1/8}}".to_owned(), "its network is 10.0.0.0/8"),
        ("sets: {a: {prefixes: '@b'}}".to_owned(), "`@b` is not a prefix"),
        ("sets: {a: {elements: []}}".to_owned(), "unknown key `elements`"),
        ("sets: {a: {file: /dev/zero}}".to_owned(), "cannot read /dev/zero: it is no regular file"),
        (
            "sets: {a: {}}\nnat: {source: [{source: '@a', prefix: 192.0.2.0/24}]}".to_owned(),
            "`prefix` needs one network",
        ),
    ] {
        let refusal = refusal(&with(&rest));
        assert!(refusal.contains(said), "{rest}: {refusal}");
    }
}

#[test]
fn a_file_is_read_from_where_the_configuration_is() {
    let directory = tempfile::tempdir().unwrap();
    let read = |list: &str| -> Result<Config, String> {
        fs::write(directory.path().join("list.txt"), list).unwrap();
        let file = directory.path().join("box.yaml");
        fs::write(&file, with("sets:\n  bad: { prefixes: 192.0.2.1, file: list.txt }")).unwrap();
        config::read(&file).map_err(|error| error.to_string())
    };
    let config = read("# two\n2001:db8::/32\n198.51.100.0/24 ; one\n").unwrap();
    let shown: Vec<String> = config.sets["bad"].elements.list().iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["192.0.2.1/32", "198.51.100.0/24", "2001:db8::/32"]);
    assert_eq!(config.sets["bad"].file.as_deref(), Some(directory.path().join("list.txt").as_path()));
    let wrong = read("192.0.2.1\n\n  192.0.2.999 # no address\n").unwrap_err();
    assert!(wrong.contains("list.txt:3:3") && wrong.contains("`192.0.2.999` is not a prefix"), "{wrong}");
    fs::remove_file(directory.path().join("list.txt")).unwrap();
    let missing = config::read(&directory.path().join("box.yaml")).unwrap_err().to_string();
    assert!(missing.contains("box.yaml:") && missing.contains("list.txt: No such file"), "{missing}");
}
