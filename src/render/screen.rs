//! What a command shows, before a terminal gives it colors and a width: sections of rows of cells.

/// How a text is emphasized. A terminal shows it as a color.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// Not at all.
    #[default]
    Plain,
    /// Something that is as it should be.
    Good,
    /// Something that changes, or that needs attention.
    Changed,
    /// Something that failed.
    Bad,
    /// A heading.
    Heading,
    /// Something less important.
    Faint,
}

/// The lines of one cell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell(pub Vec<(Tone, String)>);

impl Cell {
    /// One line of text.
    pub fn of(tone: Tone, text: impl Into<String>) -> Self {
        Self(vec![(tone, text.into())])
    }

    /// The same cell with a further line, if there is one.
    pub fn and(mut self, tone: Tone, text: Option<impl Into<String>>) -> Self {
        self.0.extend(text.map(|text| (tone, text.into())).filter(|(_, text)| !text.is_empty()));
        self
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::of(Tone::Plain, text)
    }
}

/// Rows under a title.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// Its title; empty for none.
    pub title: String,
    /// Names of the columns; empty for none.
    pub header: Vec<&'static str>,
    /// The rows.
    pub rows: Vec<Vec<Cell>>,
    /// Whether each row stays one line, whatever the width of the terminal.
    pub overflows: bool,
}

impl Section {
    /// Rows without names of columns.
    pub fn new(title: &str, rows: Vec<Vec<Cell>>) -> Self {
        Self { title: title.to_owned(), rows, ..Self::default() }
    }
}
