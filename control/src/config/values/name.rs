//! Names that the file gives: to interfaces and rules.

/// Whether this can be a name: of an interface, of a rule, in a metric's label, in a file's name.
pub(crate) fn is_name(text: &str, longest: usize) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    text.len() <= longest && text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(plain)
}
