//! Answers on stdout: a table for people, JSON or YAML for programs. A reader that closed the pipe ends the
//! command quietly.

use std::io::{self, ErrorKind, Write};

use clap::ValueEnum;
use serde::Serialize;

use super::Failure;

/// How answers are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns, for people.
    #[default]
    Table,
    /// One JSON document a line.
    Json,
    /// YAML documents.
    Yaml,
}

/// The one writer of answers.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    format: Format,
}

impl Output {
    pub(super) fn new(format: Format) -> Output {
        Output { format }
    }

    /// Whether answers are for people.
    pub(super) fn is_table(self) -> bool {
        self.format == Format::Table
    }

    /// Writes `document` as JSON or YAML, or `table` as aligned columns; the first row of a table is its head.
    pub fn write(&self, document: &impl Serialize, table: &[Vec<String>]) -> Result<(), Failure> {
        self.write_tables(document, &[table.to_vec()])
    }

    /// The same with several tables, an empty line between them.
    pub fn write_tables(
        &self,
        document: &impl Serialize,
        tables: &[Vec<Vec<String>>],
    ) -> Result<(), Failure> {
        self.text(&self.format(document, tables)?)
    }

    /// The same on stderr, for what goes beside an answer; a closed stderr is nobody's failure.
    pub fn write_aside(&self, document: &impl Serialize, table: &[Vec<String>]) -> Result<(), Failure> {
        let text = self.format(document, &[table.to_vec()])?;
        let _ = io::stderr().lock().write_all(text.as_bytes());
        Ok(())
    }

    fn format(&self, document: &impl Serialize, tables: &[Vec<Vec<String>>]) -> Result<String, Failure> {
        Ok(match self.format {
            Format::Table => tables.iter().map(|table| columns(table)).collect::<Vec<_>>().join("\n"),
            Format::Json => format!("{}\n", json(document)?),
            Format::Yaml => yaml(document)?,
        })
    }

    /// Writes text as it is.
    pub fn text(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(Failure::unexpected(format!("cannot write the answer to stdout: {error}")))
            }
            _ => Ok(()),
        }
    }
}

fn json(document: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(document).map_err(|e| Failure::unexpected(format!("cannot write JSON: {e}")))
}

fn yaml(document: &impl Serialize) -> Result<String, Failure> {
    let text = serde_saphyr::to_string(document)
        .map_err(|e| Failure::unexpected(format!("cannot write YAML: {e}")))?;
    Ok(format!("---\n{}\n", text.trim_end()))
}

/// Columns as wide as their widest cell, two blanks between them, none at the end of a line.
fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |i: usize| {
        rows.iter().filter_map(|row| row.get(i)).map(|cell: &String| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::columns;

    #[test]
    fn columns_are_aligned_and_lines_end_without_blanks() {
        let rows = [["VERDICT", "CODE", "MESSAGE"], ["AUTHORIZED", "OK", "You may run."]];
        let rows: Vec<Vec<String>> =
            rows.iter().map(|r| r.iter().map(ToString::to_string).collect()).collect();
        assert_eq!(columns(&rows), "VERDICT     CODE  MESSAGE\nAUTHORIZED  OK    You may run.\n");
    }
}
