//! What was probably meant by a word that is not known.

/// What other firewalls call a key of ours.
const SYNONYMS: [(&str, &str); 26] = [
    ("src", "source"),
    ("saddr", "source"),
    ("from", "source"),
    ("dst", "destination"),
    ("daddr", "destination"),
    ("sport", "source-port"),
    ("dport", "destination-port"),
    ("proto", "protocol"),
    ("iif", "in"),
    ("iifname", "in"),
    ("oif", "out"),
    ("oifname", "out"),
    ("gateway", "via"),
    ("verdict", "action"),
    ("jump", "action"),
    ("allow", "accept"),
    ("snat", "to"),
    ("snat", "source"),
    ("dnat", "to"),
    ("dnat", "destination"),
    ("masq", "masquerade"),
    ("netmap", "prefix"),
    ("to-source", "to"),
    ("to-destination", "to"),
    ("to-ports", "redirect"),
    ("fully-random", "random"),
];

/// The candidate that was probably meant: the field's other name for it, or one a few letters away.
pub(crate) fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let mut synonyms = SYNONYMS.iter().filter(|(theirs, _)| *theirs == word);
    if let Some((_, known)) = synonyms.find(|(_, ours)| candidates.contains(ours)) {
        return Some(known);
    }
    let word = word.to_lowercase();
    let distance = |candidate: &str| strsim::damerau_levenshtein(&word, candidate);
    let close = |candidate: &&&str| word.len() < 64 && distance(candidate) <= (candidate.len() / 3).max(1);
    candidates.iter().filter(close).min_by_key(|candidate| distance(candidate)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_found_by_letters_and_by_other_names() {
        let keys = ["source", "destination", "source-port", "destination-port", "protocol"];
        assert_eq!(nearest("sorce", &keys), Some("source"));
        assert_eq!(nearest("destination_port", &keys), Some("destination-port"));
        assert_eq!(nearest("dport", &keys), Some("destination-port"));
        assert_eq!(nearest("colour", &keys), None);
    }
}
