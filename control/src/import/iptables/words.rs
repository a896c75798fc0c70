//! The words of a line of iptables-save, with quotes as it writes them.

/// Splits a line at blanks. Within quotes, blanks are of the word, and a backslash stands before a quote or a backslash.
pub(super) fn split(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match (character, quote) {
            ('\\', _) => word.get_or_insert_default().extend(characters.next()),
            (_, Some(open)) if character == open => quote = None,
            ('"' | '\'', None) => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (_, None) if character.is_ascii_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    if quote.is_none() { Ok(words) } else { Err("a quote does not end".to_owned()) }
}

/// Words that are read one by one.
pub(super) struct Words<'a> {
    words: &'a [String],
}

impl<'a> Words<'a> {
    /// These words.
    pub(super) fn new(words: &'a [String]) -> Words<'a> {
        Words { words }
    }

    /// The next word.
    pub(super) fn next(&mut self) -> Option<&'a str> {
        let (first, rest) = self.words.split_first()?;
        self.words = rest;
        Some(first)
    }

    /// The next word, which stays.
    pub(super) fn peek(&self) -> Option<&'a str> {
        self.words.first().map(String::as_str)
    }

    /// Whether a `!` is next, which then is taken.
    pub(super) fn take_not(&mut self) -> bool {
        let is_not = self.peek() == Some("!");
        if is_not {
            self.next();
        }
        is_not
    }

    /// The value of an option.
    pub(super) fn value(&mut self, option: &str) -> Result<&'a str, String> {
        self.next().ok_or_else(|| format!("`{option}` has no value"))
    }

    /// Takes `[12:345]`, packets and bytes.
    pub(super) fn skip_counters(&mut self) {
        if self.peek().is_some_and(|word| word.starts_with('[')) {
            self.next();
        }
    }

    /// Takes what follows, up to the next option that any rule may have: those have one letter.
    pub(super) fn skip_options(&mut self) {
        let is_general = |word: &str| word.starts_with('-') && word.len() == 2;
        while let Some(word) = self.peek() {
            let after_not = word == "!" && self.words.get(1).is_some_and(|word| is_general(word));
            if is_general(word) || after_not {
                return;
            }
            self.next();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_keep_words_together() {
        let line = r#"-A INPUT -m comment --comment "he said \"no\"" '' -j LOG --log-prefix "IPT: ""#;
        let words = split(line).unwrap();
        assert_eq!(words[5..], ["he said \"no\"", "", "-j", "LOG", "--log-prefix", "IPT: "]);
        assert!(split("-A \"open").is_err());
        assert_eq!(split(" a\tb\\").unwrap(), ["a", "b"]);
    }
}
