//! The text of a file that was read: where each of its lines says what.

use super::error::{ConfigError, Finding};
use super::path::{Path, Problem};
use super::spans::Spans;

/// A file's name and text.
#[derive(Clone, Debug)]
pub struct Source {
    file: String,
    text: String,
    begins: &'static str,
}

impl Source {
    pub(super) fn new(file: &str, text: &str, begins: &'static str) -> Source {
        Source { file: file.to_owned(), text: text.to_owned(), begins }
    }

    /// The text, as it was read.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// All that is wrong, each where it stands; at the nearest key above it where it has no place of its own.
    pub fn refuse(&self, problems: Vec<Problem>) -> ConfigError {
        let findings = match Spans::read(&self.text, self.begins) {
            Ok(spans) => problems.into_iter().map(|problem| locate(&spans, problem)).collect(),
            Err(finding) => vec![finding],
        };
        ConfigError::new(&self.file, &self.text, findings)
    }

    /// `FILE:LINE` of the keys, values and elements of lists at these paths; `None` where there is nothing.
    pub fn places(&self, paths: &[Path]) -> Vec<Option<String>> {
        let spans = Spans::read(&self.text, self.begins).ok();
        let place = |path: &Path| {
            let start = spans.as_ref()?.key(path)?.start;
            let line = self.text.get(..start)?.matches('\n').count() + 1;
            Some(format!("{}:{line}", self.file))
        };
        paths.iter().map(place).collect()
    }
}

/// A problem at its place in the file.
fn locate(spans: &Spans<'_>, problem: Problem) -> Finding {
    let own = if problem.on_key { spans.key(&problem.path) } else { spans.value(&problem.path) };
    let within = problem.within.and_then(|within| spans.within(&problem.path, within));
    let span = within.or(own).or_else(|| problem.path.ancestors().find_map(|path| spans.key(&path)));
    Finding { span, message: problem.message, expected: problem.expected, help: problem.help }
}
