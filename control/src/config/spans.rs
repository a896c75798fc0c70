//! Where each key and value of a file stands, by its path.

use std::ops::Range;

use marked_yaml::types::MarkedScalarNode;
use marked_yaml::{LoadError, LoaderOptions, Marker, Node};

use super::error::Finding;
use super::path::{Path, Step};

/// The places of a file's keys and values.
pub(super) struct Spans<'a> {
    lines: Lines<'a>,
    root: Node,
}

impl<'a> Spans<'a> {
    /// Reads the places. Errors are what YAML allows and a configuration does not: duplicate keys, anchors, tags.
    ///
    /// The text must have passed [`super::load`]'s check of nesting: this parser has no limit of its own.
    pub(super) fn read(text: &'a str) -> Result<Spans<'a>, Finding> {
        let lines = Lines::new(text);
        let options = LoaderOptions::default().error_on_duplicate_keys(true);
        match marked_yaml::parse_yaml_with_options(0, text, options) {
            Ok(root) => Ok(Spans { lines, root }),
            Err(error) => Err(refused(&lines, error)),
        }
    }

    /// The place of a value. A mapping or list of several lines is shown by the key it belongs to.
    pub(super) fn value(&self, path: &Path) -> Option<Range<usize>> {
        let (key, node) = self.find(path)?;
        match (node, key) {
            (Node::Scalar(scalar), _) => self.scalar(scalar),
            (block, Some(key)) if !self.is_one_line(block) => self.scalar(key),
            (block, _) => self.block(block),
        }
    }

    /// The place of a key; of the value where the path ends in an element of a list.
    pub(super) fn key(&self, path: &Path) -> Option<Range<usize>> {
        match self.find(path)? {
            (Some(key), _) => self.scalar(key),
            (None, node) => self.block(node),
        }
    }

    /// The node at the end of a path, and the key that leads to it if the last step is one.
    fn find(&self, path: &Path) -> Option<(Option<&MarkedScalarNode>, &Node)> {
        let mut at = (None, &self.root);
        for step in path.steps() {
            at = match (at.1, step) {
                (Node::Mapping(map), Step::Key(name)) => {
                    map.iter().find(|(key, _)| key.as_str() == name).map(|(key, node)| (Some(key), node))?
                }
                (Node::Sequence(list), Step::Index(index)) => (None, list.get_node(*index)?),
                _ => return None,
            };
        }
        Some(at)
    }

    fn scalar(&self, scalar: &MarkedScalarNode) -> Option<Range<usize>> {
        let start = self.lines.byte(scalar.span().start()?);
        Some(start..start + self.lines.token_len(start, scalar.as_str()))
    }

    fn block(&self, node: &Node) -> Option<Range<usize>> {
        if let Node::Scalar(scalar) = node {
            return self.scalar(scalar);
        }
        let first_key =
            node.as_mapping().and_then(|map| map.keys().next()).and_then(|key| key.span().start());
        // A mapping written over several lines is reported to start behind its first key.
        let start =
            [node.span().start(), first_key].into_iter().flatten().map(|at| self.lines.byte(at)).min()?;
        let end = node.span().end().map_or(start, |end| self.lines.byte(end) + 1);
        Some(start..end.max(start + 1).min(self.lines.end_of_line(start)))
    }

    fn is_one_line(&self, node: &Node) -> bool {
        let line = |marker: Option<&Marker>| marker.map(Marker::line);
        line(node.span().start()) == line(node.span().end())
    }
}

/// What YAML allows and a configuration does not.
fn refused(lines: &Lines<'_>, error: LoadError) -> Finding {
    let at = |marker: &Marker| {
        let start = lines.byte(marker);
        Some(start..start + 1)
    };
    // What an anchor or a tag is about is reported; the sign itself stands before it.
    let sign = |sign: char, marker: &Marker| {
        let start = lines.text[..lines.byte(marker)].rfind(sign)?;
        Some(start..start + 1)
    };
    let (span, message, help) = match &error {
        LoadError::DuplicateKey(keys) => {
            let first = keys.prev_key.span().start().map_or(0, Marker::line);
            let start = keys.key.span().start().map_or(0, |marker| lines.byte(marker));
            let span = start..start + lines.token_len(start, keys.key.as_str());
            let help = format!("it is on line {first} already; remove one of the two, or merge them");
            (Some(span), format!("duplicate key `{}`", keys.key.as_str()), Some(help))
        }
        LoadError::UnexpectedAnchor(marker) => {
            let help = "write the value out wherever it is wanted".to_owned();
            (sign('&', marker), "anchors and aliases (&name, *name) are not supported".to_owned(), Some(help))
        }
        LoadError::UnexpectedTag(marker) => (
            sign('!', marker),
            "tags (!name) are not supported".to_owned(),
            Some("remove the tag".to_owned()),
        ),
        LoadError::TopLevelMustBeMapping(marker) | LoadError::TopLevelMustBeSequence(marker) => {
            let help = "a configuration starts with `version: 1`".to_owned();
            (at(marker), "not a configuration: the file is not a mapping of sections".to_owned(), Some(help))
        }
        LoadError::MappingKeyMustBeScalar(marker) => {
            (at(marker), "a key must be a plain word".to_owned(), None)
        }
        LoadError::ScanError(marker, error) => (at(marker), format!("not YAML: {}", error.info()), None),
    };
    Finding { span, message, expected: None, help }
}

/// The lines of a text, to turn line and column into a byte.
pub(super) struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    /// Finds the lines.
    pub(super) fn new(text: &'a str) -> Lines<'a> {
        let after_newline = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1);
        Lines { text, starts: std::iter::once(0).chain(after_newline).collect() }
    }

    /// The byte at this line and column, both counted from 1, the column in characters.
    pub(super) fn at(&self, line: usize, column: usize) -> usize {
        let Some(start) = self.starts.get(line.saturating_sub(1)) else { return self.text.len() };
        let rest = self.text[*start..].lines().next().unwrap_or("");
        let offset = rest.char_indices().nth(column.saturating_sub(1)).map_or(rest.len(), |(byte, _)| byte);
        start + offset
    }

    fn byte(&self, marker: &Marker) -> usize {
        self.at(marker.line(), marker.column())
    }

    fn end_of_line(&self, byte: usize) -> usize {
        byte + self.text[byte..].lines().next().map_or(0, |line| line.trim_end().len())
    }

    /// How long the scalar is that starts here and reads as `value`: with its quotes, and never beyond its line.
    fn token_len(&self, start: usize, value: &str) -> usize {
        let rest = &self.text[start..self.end_of_line(start).max(start)];
        let len = match rest.chars().next() {
            Some(quote @ ('"' | '\'')) => rest[1..].find(quote).map_or(rest.len(), |end| end + 2),
            _ if rest.starts_with(value) => value.len(),
            _ => rest.len(),
        };
        len.max(1)
    }
}
