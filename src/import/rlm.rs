//! RLM license files: lines → the same model. A line that begins with `key=` belongs to the one before.

use super::{
    finding::{At, Findings, shown},
    model::{Keyword, License, Licenses, Term, Upgrade},
    reader::{self, Format, not_understood},
    text::{Line, Word},
};

/// No line begins with `key=`.
pub(super) const FORMAT: Format = Format {
    continues: |row| row.split_whitespace().next().is_some_and(|first| first.contains('=')),
    line: read_line,
};

fn read_line(at: &At, line: &Line, licenses: &mut Licenses, findings: &mut Findings) {
    let Some((first, fields)) = line.words.split_first() else { return };
    match first.text.to_ascii_uppercase().as_str() {
        keyword @ ("LICENSE" | "FEATURE") => match license(at, fields) {
            Ok(license) => licenses.grants.push(license),
            Err(why) => not_understood(at, keyword, why, findings),
        },
        "UPGRADE" => match upgrade(at, fields) {
            Ok(upgrade) => licenses.upgrades.push(upgrade),
            Err(why) => not_understood(at, "UPGRADE", why, findings),
        },
        keyword @ ("HOST" | "SERVER") => {
            findings.note(
                at,
                format!("{keyword} names the old server; a pool's servers have a Service of their own"),
            );
        }
        keyword @ ("ISV" | "DAEMON") => {
            findings.note(
                at,
                format!("{keyword} names the old ISV server; genie-lm serves its products without it"),
            );
        }
        _ => {
            let message = format!("no line begins with {}", shown(&first.text));
            findings.lost(at, message, "if it is a comment, begin it with #");
        }
    }
}

/// `isv product version exp-date count ...`
fn license(at: &At, fields: &[Word]) -> Result<License, &'static str> {
    let [vendor, feature, version, end, count, rest @ ..] = fields else {
        return Err("it must have an ISV, product, version, end and count");
    };
    let kind = count.text.to_ascii_lowercase();
    if kind.starts_with("token") || kind.starts_with("meter") {
        return Err("its count is of tokens or of a meter, and genie-lm has neither");
    }
    if kind != "single" {
        return reader::license(at, [vendor, feature, version, end, count], rest);
    }
    // One process on one host, without a server.
    let uncounted = Word { text: "uncounted".to_owned(), quoted: false };
    let mut license = reader::license(at, [vendor, feature, version, end, &uncounted], rest)?;
    license.terms.push(Keyword { text: kind.clone(), term: Term::HostId(kind) });
    Ok(license)
}

/// `isv product from-version to-version exp-date count ...`
fn upgrade(at: &At, fields: &[Word]) -> Result<Upgrade, &'static str> {
    let [vendor, feature, from, to, end, count, rest @ ..] = fields else {
        return Err("it must have an ISV, product, two versions, end and count");
    };
    reader::upgrade(at, [vendor, feature, from, to, end, count], rest)
}
