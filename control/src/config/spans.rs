//! Where each key and value of a file stands, by its path; and what YAML allows and a configuration does not.
//!
//! One pass over the parser's events, which ends where nesting goes too deep or an anchor would repeat what is under it: so
//! that no file, whatever it holds, takes longer than its length says.

use std::collections::HashMap;
use std::ops::Range;

use yaml_rust2::Event;
use yaml_rust2::parser::Parser;
use yaml_rust2::scanner::{Marker, Scanner, TScalarStyle, TokenType};

use super::error::Finding;
use super::path::{Path, Step};

/// Mappings and lists in each other. The deepest that a configuration needs are six.
const MAX_DEPTH: usize = 32;

/// The places of a file's keys and values.
pub(super) struct Spans<'a> {
    lines: Lines<'a>,
    root: Node,
}

/// A value, with its place.
pub(super) enum Node {
    /// Text, as YAML reads it.
    Scalar(Scalar),
    /// Keys and values, in the order of the file.
    Mapping(Block, Vec<(Scalar, Node)>),
    /// A list.
    Sequence(Block, Vec<Node>),
}

/// Text and the byte that it begins at, with its quotes.
pub(super) struct Scalar {
    /// What it reads as.
    pub text: String,
    /// Whether it has no quotes, so that it may mean a number, true, false or nothing.
    pub is_plain: bool,
    start: usize,
}

/// From the first byte of a mapping or list to its last, and whether both are on one line.
#[derive(Clone, Copy)]
pub(super) struct Block {
    start: usize,
    end: usize,
    is_one_line: bool,
}

impl<'a> Spans<'a> {
    /// Reads the places. Errors are what is not YAML, and what YAML allows and a configuration does not: duplicate keys,
    /// anchors, tags, several documents, nesting beyond measure. Who has written something else is told how such a file `begins`.
    pub(super) fn read(text: &'a str, begins: &'static str) -> Result<Spans<'a>, Finding> {
        let mut reader = Reader { lines: Lines::new(text), begins, open: Vec::new(), root: None };
        let mut parser = Parser::new_from_str(text);
        loop {
            let (event, mark) = parser
                .next_token()
                .map_err(|error| reader.lines.not_yaml(reader.lines.byte(error.marker()), error.info()))?;
            if event == Event::StreamEnd {
                break;
            }
            reader.take(event, mark)?;
        }
        let Reader { lines, root, .. } = reader;
        match root {
            Some(root) => Ok(Spans { lines, root }),
            None => Err(no_sections(0, begins)),
        }
    }

    /// The whole file.
    pub(super) fn root(&self) -> &Node {
        &self.root
    }

    /// The place of a value. A mapping or list of several lines is shown by the key it belongs to.
    pub(super) fn value(&self, path: &Path) -> Option<Range<usize>> {
        let (key, node) = self.find(path)?;
        match (node, key) {
            (Node::Mapping(block, _) | Node::Sequence(block, _), Some(key)) if !block.is_one_line => {
                Some(self.lines.scalar(key))
            }
            (node, _) => Some(self.lines.node(node)),
        }
    }

    /// The place of a key; of the value where the path ends in an element of a list.
    pub(super) fn key(&self, path: &Path) -> Option<Range<usize>> {
        match self.find(path)? {
            (Some(key), _) => Some(self.lines.scalar(key)),
            (None, node) => Some(self.lines.node(node)),
        }
    }

    /// The place of some bytes of a text, where the text stands as it reads on one line.
    pub(super) fn within(&self, path: &Path, bytes: Range<u32>) -> Option<Range<usize>> {
        let (_, Node::Scalar(scalar)) = self.find(path)? else { return None };
        let start = scalar.start + usize::from(!scalar.is_plain);
        let stands = self.lines.text.get(start..)?.starts_with(&scalar.text);
        stands.then_some(start + bytes.start as usize..start + bytes.end as usize)
    }

    /// The node at the end of a path, and the key that leads to it if the last step is one.
    fn find(&self, path: &Path) -> Option<(Option<&Scalar>, &Node)> {
        let mut at = (None, &self.root);
        for step in path.steps() {
            at = match (at.1, step) {
                (Node::Mapping(_, entries), Step::Key(name)) => {
                    entries.iter().find(|(key, _)| key.text == *name).map(|(key, node)| (Some(key), node))?
                }
                (Node::Sequence(_, items), Step::Index(index)) => (None, items.get(*index)?),
                _ => return None,
            };
        }
        Some(at)
    }
}

/// A mapping or list whose end has not come yet.
struct Open {
    start: Marker,
    inside: Inside,
}

enum Inside {
    /// What is complete, the key whose value is awaited, and the line of each key.
    Mapping(Vec<(Scalar, Node)>, Option<Scalar>, HashMap<String, usize>),
    Sequence(Vec<Node>),
}

/// Turns events into nodes.
struct Reader<'a> {
    lines: Lines<'a>,
    begins: &'static str,
    open: Vec<Open>,
    root: Option<Node>,
}

impl Reader<'_> {
    fn take(&mut self, event: Event, mark: Marker) -> Result<(), Finding> {
        match event {
            Event::Alias(_) => return Err(self.anchor(&mark)),
            Event::Scalar(_, _, anchor, _)
            | Event::SequenceStart(anchor, _)
            | Event::MappingStart(anchor, _)
                if anchor > 0 =>
            {
                return Err(self.anchor(&mark));
            }
            Event::Scalar(.., Some(_))
            | Event::SequenceStart(_, Some(_))
            | Event::MappingStart(_, Some(_)) => {
                let message = "tags (!name) are not supported";
                let at = self.sign(&mark, |token| matches!(token, TokenType::Tag(..)));
                return Err(Finding::at(at..at + 1, message).help("remove the tag"));
            }
            Event::DocumentStart if self.root.is_some() => {
                let at = self.lines.byte(&mark);
                let finding = Finding::at(at..self.lines.end_of_line(at), "more than one YAML document");
                return Err(finding.help("remove the `---` lines between them"));
            }
            Event::Scalar(text, style, ..) => {
                let is_plain = style == TScalarStyle::Plain;
                let scalar = Scalar { text, is_plain, start: self.lines.byte(&mark) };
                match self.open.last_mut() {
                    None => return Err(no_sections(scalar.start, self.begins)),
                    Some(Open { inside: Inside::Mapping(_, None, _), .. })
                        if is_plain && scalar.text.is_empty() =>
                    {
                        return Err(no_word(scalar.start));
                    }
                    Some(Open { inside: Inside::Mapping(_, key @ None, seen), .. }) => {
                        if let Some(first) = seen.insert(scalar.text.clone(), mark.line()) {
                            return Err(self.lines.duplicate(&scalar, first));
                        }
                        *key = Some(scalar);
                    }
                    Some(_) => self.put(Node::Scalar(scalar)),
                }
            }
            Event::SequenceStart(..) => self.begin(mark, Inside::Sequence(Vec::new()))?,
            Event::MappingStart(..) => {
                self.begin(mark, Inside::Mapping(Vec::new(), None, HashMap::new()))?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(&mark),
            _ => {}
        }
        Ok(())
    }

    fn begin(&mut self, start: Marker, inside: Inside) -> Result<(), Finding> {
        let at = self.lines.byte(&start);
        match self.open.last() {
            None if matches!(inside, Inside::Sequence(_)) => Err(no_sections(at, self.begins)),
            Some(Open { inside: Inside::Mapping(_, None, _), .. }) => Err(no_word(at)),
            _ if self.open.len() == MAX_DEPTH => Err(too_deep(at)),
            _ => {
                self.open.push(Open { start, inside });
                Ok(())
            }
        }
    }

    fn end(&mut self, mark: &Marker) {
        let Some(Open { start, inside }) = self.open.pop() else { return };
        // A mapping written over several lines is reported to start behind its first key.
        let first = match &inside {
            Inside::Mapping(entries, ..) => entries.first().map(|(key, _)| key.start),
            Inside::Sequence(_) => None,
        };
        let at = self.lines.byte(&start);
        let start_byte = first.map_or(at, |first| first.min(at));
        let is_one_line = start.line() == mark.line();
        let block = Block { start: start_byte, end: self.lines.byte(mark) + 1, is_one_line };
        self.put(match inside {
            Inside::Mapping(entries, ..) => Node::Mapping(block, entries),
            Inside::Sequence(items) => Node::Sequence(block, items),
        });
    }

    /// Puts a complete value where it belongs.
    fn put(&mut self, node: Node) {
        match self.open.last_mut().map(|open| &mut open.inside) {
            Some(Inside::Sequence(items)) => items.push(node),
            Some(Inside::Mapping(entries, key, _)) => entries.extend(key.take().map(|key| (key, node))),
            None => self.root = Some(node),
        }
    }

    fn anchor(&self, mark: &Marker) -> Finding {
        let is_sign = |token: &TokenType| matches!(token, TokenType::Anchor(_) | TokenType::Alias(_));
        anchor(self.sign(mark, is_sign))
    }

    /// The place of the first such token. An event is reported where its value stands, behind the sign itself.
    fn sign(&self, mark: &Marker, is_it: impl Fn(&TokenType) -> bool) -> usize {
        let mut tokens = Scanner::new(self.lines.text.chars());
        let found = tokens.find(|token| is_it(&token.1));
        self.lines.byte(found.as_ref().map_or(mark, |token| &token.0))
    }
}

fn anchor(at: usize) -> Finding {
    Finding::at(at..at + 1, "anchors and aliases (&name, *name) are not supported")
        .help("write the value out wherever it is wanted; text that begins so needs quotes")
}

fn no_word(at: usize) -> Finding {
    Finding::at(at..at + 1, "a key must be a plain word")
}

fn too_deep(at: usize) -> Finding {
    Finding::at(at..at + 1, "nested too deeply")
}

fn no_sections(at: usize, begins: &str) -> Finding {
    Finding::at(at..at + 1, "the file is not a mapping of sections").help(begins)
}

/// The lines of a text, to turn line and column into a byte.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Lines<'a> {
        let after_newline = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1);
        Lines { text, starts: std::iter::once(0).chain(after_newline).collect() }
    }

    /// The byte at this line and column, both counted from 1, the column in characters.
    fn at(&self, line: usize, column: usize) -> usize {
        let Some(start) = self.starts.get(line.saturating_sub(1)) else { return self.text.len() };
        let rest = self.text[*start..].lines().next().unwrap_or("");
        let offset = rest.char_indices().nth(column.saturating_sub(1)).map_or(rest.len(), |(byte, _)| byte);
        start + offset
    }

    /// The byte at a place of the parser, which counts columns from 0.
    fn byte(&self, marker: &Marker) -> usize {
        self.at(marker.line(), marker.col() + 1)
    }

    /// What the parser says of a text that is not YAML, in the words of the person who wrote it.
    fn not_yaml(&self, at: usize, what: &str) -> Finding {
        let start = self.text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let line = self.text[start..].lines().next().unwrap_or("");
        let indentation = &line[..line.len() - line.trim_start().len()];
        if let Some(tab) = indentation.find('\t') {
            let span = start + tab..start + tab + 1;
            return Finding::at(span, "tab in the indentation").help("indent with spaces");
        }
        if self.text[at..].starts_with(['&', '*']) {
            return anchor(at);
        }
        if what.contains("recursion limit") {
            return too_deep(at);
        }
        let finding = Finding::at(at..at + 1, format!("not YAML: {what}"));
        match what.contains("mapping values are not allowed") && line.contains(": ") {
            true => finding
                .help("put quotes around a value that holds `: `, and indent keys of one mapping alike"),
            false => finding,
        }
    }

    fn duplicate(&self, key: &Scalar, first: usize) -> Finding {
        let finding = Finding::at(self.scalar(key), format!("duplicate key `{}`", key.text));
        finding.help(format!("it is on line {first} already; remove one of the two, or merge them"))
    }

    /// The place of a value, as far as it is on one line.
    fn node(&self, node: &Node) -> Range<usize> {
        match node {
            Node::Scalar(scalar) => self.scalar(scalar),
            Node::Mapping(block, _) | Node::Sequence(block, _) => {
                let Block { start, end, .. } = *block;
                start..end.max(start + 1).min(self.end_of_line(start).max(start))
            }
        }
    }

    fn scalar(&self, scalar: &Scalar) -> Range<usize> {
        scalar.start..scalar.start + self.token_len(scalar.start, &scalar.text)
    }

    fn end_of_line(&self, byte: usize) -> usize {
        byte + self.text[byte..].lines().next().map_or(0, |line| line.trim_end().len())
    }

    /// How long the scalar is that starts here and reads as `value`: with its quotes, and never beyond its line.
    fn token_len(&self, start: usize, value: &str) -> usize {
        let rest = &self.text[start..self.end_of_line(start)];
        let len = match rest.chars().next() {
            Some(quote @ ('"' | '\'')) => rest[1..].find(quote).map_or(rest.len(), |end| end + 2),
            _ if rest.starts_with(value) => value.len(),
            _ => rest.len(),
        };
        len.max(1)
    }
}
