//! What the user must know of each line: nothing is dropped without one of these.

use std::{fmt, sync::Arc};

use serde::Serialize;

/// Findings that are kept; the rest is counted.
const MAX_FINDINGS: usize = 10_000;
/// Longest piece of a file that a message shows.
const MAX_SHOWN: usize = 200;

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct At {
    /// The file as the user named it.
    pub file: Arc<str>,
    /// Counted from 1.
    pub line: u32,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Something about a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Where.
    #[serde(flatten)]
    pub at: At,
    /// False: the manifests do not say what this line says.
    pub carried_over: bool,
    /// What, and why.
    pub message: String,
    /// What can be done about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meanwhile: Option<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.carried_over { "note" } else { "not carried over" };
        write!(f, "{}: {what}: {}", self.at, self.message)?;
        self.meanwhile.iter().try_for_each(|meanwhile| write!(f, "; meanwhile: {meanwhile}"))
    }
}

/// Collects findings, in order of the files and their lines in the end.
#[derive(Debug, Default)]
pub(super) struct Findings {
    kept: Vec<Finding>,
    dropped: usize,
}

impl Findings {
    /// Something that the user should know; nothing is lost.
    pub fn note(&mut self, at: &At, message: impl ToString) {
        self.push(Finding {
            at: at.clone(),
            carried_over: true,
            message: message.to_string(),
            meanwhile: None,
        });
    }

    /// Something that the manifests do not say.
    pub fn lost(&mut self, at: &At, message: impl ToString, meanwhile: impl ToString) {
        let meanwhile = Some(meanwhile.to_string()).filter(|text| !text.is_empty());
        self.push(Finding { at: at.clone(), carried_over: false, message: message.to_string(), meanwhile });
    }

    fn push(&mut self, finding: Finding) {
        if self.kept.len() < MAX_FINDINGS { self.kept.push(finding) } else { self.dropped += 1 }
    }

    /// Each file's in order of lines; files in the order in which the user named them.
    pub fn finish(mut self, files: &[Arc<str>]) -> Vec<Finding> {
        let rank = |finding: &Finding| files.iter().position(|file| *file == finding.at.file);
        self.kept.sort_by_key(|finding| (rank(finding), finding.at.line));
        self.kept.dedup();
        if let Some(at) = self.kept.last().map(|last| last.at.clone()).filter(|_| self.dropped > 0) {
            let message = format!("and {} more findings, which are not shown", self.dropped);
            let meanwhile = Some("import fewer files at a time".to_owned());
            self.kept.push(Finding { at, carried_over: false, message, meanwhile });
        }
        self.kept
    }
}

/// A piece of a file in a message or a comment: short, and nothing that a terminal or YAML would act on.
pub(super) fn shown(text: &str) -> String {
    let clean = text.chars().take(MAX_SHOWN).filter(|c| !c.is_control() && !is_format(*c));
    let mut clean: String = clean.collect();
    if text.chars().nth(MAX_SHOWN).is_some() {
        clean.push_str("...");
    }
    clean
}

/// Characters that change how others are shown, or end a line in YAML.
fn is_format(c: char) -> bool {
    matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}'
        | '\u{FFFE}' | '\u{FFFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_of_a_file_is_short_and_does_nothing_to_a_terminal() {
        assert_eq!(shown("a\u{1b}[31mb\nc\u{202e}d\u{2028}e"), "a[31mbcde");
        assert_eq!(shown(&"x".repeat(MAX_SHOWN + 1)).len(), MAX_SHOWN + 3);
    }

    #[test]
    fn more_findings_than_are_kept_are_counted_and_mean_that_something_is_lost() {
        let mut findings = Findings::default();
        let at = |line| At { file: "a".into(), line };
        (0..=10_001).for_each(|line| findings.note(&at(line), line));
        let all = findings.finish(&["a".into()]);
        assert_eq!(all.len(), MAX_FINDINGS + 1);
        assert!(
            all.iter()
                .any(|finding| finding.message.starts_with("and 2 more findings") && !finding.carried_over)
        );
    }
}
