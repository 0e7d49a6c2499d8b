//! What the readers of license files share: the walk over the lines, and the fields that all lines have.

use std::sync::Arc;

use super::{
    date::{self, Ends},
    finding::{At, Findings},
    model::{Count, License, Licenses, Upgrade},
    terms::{is_signed, terms},
    text::{Line, Word, lines},
};

/// License lines of one import; a vendor with thousands of features has one for each.
pub(super) const MAX_LINES: usize = 20_000;

/// A format of license files.
pub(super) struct Format {
    /// Whether a row without a backslash before it belongs to the line before.
    pub continues: fn(&str) -> bool,
    /// Reads a line.
    pub line: fn(&At, &Line, &mut Licenses, &mut Findings),
}

/// Reads a file into `licenses`.
pub(super) fn read(
    file: &Arc<str>,
    text: &str,
    format: &Format,
    licenses: &mut Licenses,
    findings: &mut Findings,
) {
    let mut signed: Option<At> = None;
    for line in lines(text, format.continues) {
        let at = At { file: file.clone(), line: line.number };
        if licenses.grants.len() + licenses.packages.len() + licenses.upgrades.len() >= MAX_LINES {
            let message =
                format!("this and what follows is not read: there are more than {MAX_LINES} license lines");
            return findings.lost(&at, message, "import fewer files at a time");
        }
        if line.open_quote {
            let message = "a quote is opened and never closed: it is taken to end with its line";
            findings.lost(&at, message, "repair it");
        }
        if is_signed(&line.words) {
            signed.get_or_insert_with(|| at.clone());
        }
        (format.line)(&at, &line, licenses, findings);
    }
    if let Some(at) = signed {
        let message = "signatures, of this line and of others of this file, are not checked: only the vendor's own server can";
        findings.note(&at, message);
    }
}

/// A line of a known keyword that is not of its form.
pub(super) fn not_understood(at: &At, keyword: &str, why: &str, findings: &mut Findings) {
    let message = format!("this {keyword} line is not understood: {why}");
    findings.lost(at, message, "repair it, or ask its vendor");
}

/// A license from its fixed fields and the words after them.
pub(super) fn license(
    at: &At,
    [vendor, feature, version, end, many]: [&Word; 5],
    rest: &[Word],
) -> Result<License, &'static str> {
    Ok(License {
        at: at.clone(),
        adds: true,
        feature: feature.text.clone(),
        vendor: vendor.text.clone(),
        version: version.text.clone(),
        ends: ends(end)?,
        count: count(many)?,
        terms: terms(rest),
    })
}

/// An upgrade from its fixed fields and the words after them.
pub(super) fn upgrade(
    at: &At,
    [vendor, feature, from, to, end, many]: [&Word; 6],
    rest: &[Word],
) -> Result<Upgrade, &'static str> {
    Ok(Upgrade {
        at: at.clone(),
        feature: feature.text.clone(),
        vendor: vendor.text.clone(),
        from: from.text.clone(),
        to: to.text.clone(),
        ends: ends(end)?,
        count: count(many)?,
        terms: terms(rest),
    })
}

fn ends(word: &Word) -> Result<Ends, &'static str> {
    date::ends(&word.text).ok_or("its end is neither a date such as 31-dec-2027 nor permanent")
}

fn count(word: &Word) -> Result<Count, &'static str> {
    if word.text.eq_ignore_ascii_case("uncounted") {
        return Ok(Count::Uncounted);
    }
    match word.text.parse::<u32>() {
        Ok(0) => Ok(Count::Uncounted),
        Ok(seats) => Ok(Count::Seats(seats.into())),
        Err(_) => Err("its count is neither a number nor uncounted"),
    }
}
