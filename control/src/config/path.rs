//! Places in a configuration, and what is wrong at them.

use std::fmt;
use std::ops::Range;

/// One step into a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// To the value of a key.
    Key(String),
    /// To an element of a list, counted from 0.
    Index(usize),
}

impl From<&str> for Step {
    fn from(key: &str) -> Step {
        Step::Key(key.to_owned())
    }
}

impl From<String> for Step {
    fn from(key: String) -> Step {
        Step::Key(key)
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Step {
        Step::Index(index)
    }
}

/// A place in a configuration, from the top.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path(Vec<Step>);

impl Path {
    /// The whole file.
    pub fn root() -> Path {
        Path::default()
    }

    /// One step further.
    #[must_use]
    pub fn join(&self, step: impl Into<Step>) -> Path {
        let mut steps = self.0.clone();
        steps.push(step.into());
        Path(steps)
    }

    /// The steps.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// Whether this is the whole file.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the last step is to this key.
    pub(super) fn ends_with(&self, key: &str) -> bool {
        matches!(self.0.last(), Some(Step::Key(last)) if last == key)
    }

    /// The path without the list indices at its end; none if there is no key in it.
    pub(super) fn up_to_last_key(&self) -> Option<Path> {
        let last = self.0.iter().rposition(|step| matches!(step, Step::Key(_)))?;
        Some(Path(self.0[..=last].to_vec()))
    }

    /// The places that this one is in, from the nearest, up to the whole file.
    pub(super) fn ancestors(&self) -> impl Iterator<Item = Path> {
        (0..self.0.len()).rev().map(|len| Path(self.0[..len].to_vec()))
    }
}

impl FromIterator<Step> for Path {
    fn from_iter<I: IntoIterator<Item = Step>>(steps: I) -> Path {
        Path(steps.into_iter().collect())
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if number == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// Something wrong at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The place.
    pub path: Path,
    /// Whether the key is to be pointed at rather than its value.
    pub on_key: bool,
    /// Which bytes of the value, a text, are to be pointed at, if not all.
    pub within: Option<Range<u32>>,
    /// What is wrong.
    pub message: String,
    /// What was expected; completes "expected ...".
    pub expected: Option<String>,
    /// How to mend it.
    pub help: Option<String>,
}

impl Problem {
    /// A problem with the value at this place.
    pub fn at(path: Path, message: String) -> Problem {
        Problem { path, on_key: false, within: None, message, expected: None, help: None }
    }

    /// Points at the key.
    #[must_use]
    pub fn on_key(self) -> Problem {
        Problem { on_key: true, ..self }
    }

    /// Points at these bytes of the value.
    #[must_use]
    pub fn within(self, bytes: Range<usize>) -> Problem {
        Problem { within: Some(bytes.start as u32..bytes.end as u32), ..self }
    }

    /// Says what was expected.
    pub(super) fn expected(self, expected: String) -> Problem {
        Problem { expected: Some(expected), ..self }
    }

    /// Says how to mend it.
    #[must_use]
    pub fn help(self, help: Option<String>) -> Problem {
        Problem { help, ..self }
    }
}
