//! What would happen, from outside: `sluice test`, word for word.

/// `TRYCMD=overwrite cargo test -p sluice --test rehearsal` writes the answers anew.
#[test]
fn answers_are_as_written_down() {
    let cases = trycmd::TestCases::new();
    cases.case("tests/rehearsal/*.md");
}
