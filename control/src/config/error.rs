//! What is wrong with a file, shown as a compiler shows it: file, line, column, the line, a caret.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet, renderer::DecorStyle};

/// More findings than this help nobody.
pub(super) const MAX_FINDINGS: usize = 32;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where it stands: bytes of the text. None where it has no place, such as a file that cannot be read.
    pub span: Option<Range<usize>>,
    /// What is wrong.
    pub message: String,
    /// What was expected; completes "expected ...".
    pub expected: Option<String>,
    /// How to mend it.
    pub help: Option<String>,
}

impl Finding {
    /// Something wrong with these bytes of the text.
    pub(super) fn at(span: Range<usize>, message: impl Into<String>) -> Finding {
        Finding { span: Some(span), ..Finding::without_place(message) }
    }

    /// Something wrong with the file that stands nowhere in it.
    pub(super) fn without_place(message: impl Into<String>) -> Finding {
        Finding { span: None, message: message.into(), expected: None, help: None }
    }

    /// Says how to mend it.
    #[must_use]
    pub(super) fn help(self, help: impl Into<String>) -> Finding {
        Finding { help: Some(help.into()), ..self }
    }
}

/// Everything that is wrong with a configuration file, in the order of its lines.
#[derive(Clone, Debug)]
pub struct ConfigError {
    file: String,
    text: String,
    findings: Vec<Finding>,
}

impl ConfigError {
    /// The findings about this text of this file.
    pub(super) fn new(file: &str, text: &str, mut findings: Vec<Finding>) -> ConfigError {
        findings.sort_by_key(|finding| finding.span.as_ref().map(|span| span.start));
        findings.truncate(MAX_FINDINGS);
        ConfigError { file: file.to_owned(), text: text.to_owned(), findings }
    }

    /// One thing that is wrong with these bytes of a text that is no file, which is called `name`.
    pub fn of_words(name: &str, text: &str, at: Range<usize>, message: String, help: Option<String>) -> Self {
        let finding = Finding { help, ..Finding::at(at, message) };
        ConfigError::new(name, text, vec![finding])
    }

    /// The findings, in the order of their lines.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The findings as text for a terminal, with colour or without.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let renderer = renderer.decor_style(DecorStyle::Ascii);
        let shown: Vec<String> = self.findings.iter().map(|finding| self.show(finding, &renderer)).collect();
        let mut text = shown.join("\n\n");
        match self.findings.len() {
            0 | 1 => {}
            MAX_FINDINGS => text.push_str(&format!("\n\n{}: the first {MAX_FINDINGS} errors", self.file)),
            n => text.push_str(&format!("\n\n{}: {n} errors", self.file)),
        }
        text
    }

    fn show(&self, finding: &Finding, renderer: &Renderer) -> String {
        let Some(span) = &finding.span else {
            let title = format!("{}: {}", self.file, finding.message);
            let group = Level::ERROR.primary_title(title);
            let group = annotate_snippets::Group::with_title(group);
            return renderer.render(&[group.elements(self.notes(finding))]);
        };
        let (line_number, line_start, line) = line_at(&self.text, span.start);
        let first = clamp(line, span.start - line_start);
        let last = clamp(line, (span.end - line_start).min(line.len())).max(first);
        let label = finding.expected.as_ref().map(|expected| format!("expected {expected}"));
        let snippet = Snippet::source(line)
            .path(self.file.as_str())
            .line_start(line_number)
            .annotation(AnnotationKind::Primary.span(first..last).label(label));
        let group = Level::ERROR.primary_title(finding.message.as_str()).element(snippet);
        renderer.render(&[match &finding.help {
            Some(help) => group.element(Level::HELP.message(help.as_str())),
            None => group,
        }])
    }

    /// What is said below a finding that has no line to show.
    fn notes<'a>(&self, finding: &'a Finding) -> Vec<annotate_snippets::Message<'a>> {
        let expected = finding.expected.iter().map(|text| Level::NOTE.message(format!("expected {text}")));
        expected.chain(finding.help.iter().map(|help| Level::HELP.message(help.as_str()))).collect()
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for ConfigError {}

/// Number (from 1), first byte and text of the line that this byte is in.
fn line_at(text: &str, byte: usize) -> (usize, usize, &str) {
    let before = &text.as_bytes()[..byte.min(text.len())];
    let start = before.iter().rposition(|b| *b == b'\n').map_or(0, |newline| newline + 1);
    let number = before.iter().filter(|b| **b == b'\n').count() + 1;
    (number, start, text[start..].lines().next().unwrap_or(""))
}

/// The nearest character boundary at or before this byte.
fn clamp(line: &str, byte: usize) -> usize {
    line.floor_char_boundary(byte.min(line.len()))
}
