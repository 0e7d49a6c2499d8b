//! FlexNet license files: lines → the model. What is not understood is told with its line.

use super::{
    finding::{At, Findings, shown},
    model::{Component, License, Licenses, Package, Upgrade},
    reader::{self, Format, not_understood},
    terms::terms,
    text::{Line, Word},
};

/// Components of one PACKAGE line.
const MAX_COMPONENTS: usize = 1_000;

/// Lines go on after a backslash only.
pub(super) const FORMAT: Format = Format { continues: |_| false, line: read_line };

fn read_line(at: &At, line: &Line, licenses: &mut Licenses, findings: &mut Findings) {
    let Some((first, fields)) = line.words.split_first() else { return };
    match first.text.to_ascii_uppercase().as_str() {
        keyword @ ("FEATURE" | "INCREMENT") => match license(at, keyword == "INCREMENT", fields) {
            Ok(license) => licenses.grants.push(license),
            Err(why) => not_understood(at, keyword, why, findings),
        },
        "PACKAGE" => match package(at, fields) {
            Ok(package) => licenses.packages.push(package),
            Err(why) => not_understood(at, "PACKAGE", why, findings),
        },
        "UPGRADE" => match upgrade(at, fields) {
            Ok(upgrade) => licenses.upgrades.push(upgrade),
            Err(why) => not_understood(at, "UPGRADE", why, findings),
        },
        "SERVER" => {
            findings.note(at, "SERVER names the old server; a pool's servers have a Service of their own")
        }
        "VENDOR" | "DAEMON" => vendor(at, fields, findings),
        "USE_SERVER" => findings.note(at, "USE_SERVER is not needed: clients always ask the server"),
        _ => unknown(at, first, findings),
    }
}

fn unknown(at: &At, first: &Word, findings: &mut Findings) {
    let word = shown(&first.text);
    let meanwhile = if first.pair().is_some() {
        "is a backslash missing at the end of the line before? Then write it"
    } else if word.matches('-').count() >= 3 {
        "if it is a license in decimal form, convert it with lminstall"
    } else {
        "if it is a comment, begin it with #"
    };
    findings.lost(at, format!("no line begins with {word}"), meanwhile);
}

/// `VENDOR name [path] [[OPTIONS=]options-file] [[PORT=]port]`; the options are what matters.
fn vendor(at: &At, fields: &[Word], findings: &mut Findings) {
    let mut path = fields.iter().skip(1).filter_map(|word| {
        let key = word.pair().filter(|(key, _)| key.eq_ignore_ascii_case("options"));
        key.map(|(_, value)| value).or_else(|| Some(&*word.text).filter(|text| text.ends_with(".opt")))
    });
    match path.next_back() {
        Some(path) => {
            findings.note(at, format!("the vendor daemon reads {}: give it with --options", shown(path)));
        }
        None => findings.note(at, "VENDOR names the old daemon; genie-lm serves its features without it"),
    }
}

/// `name vendor version exp_date num_lic ...`
fn license(at: &At, adds: bool, fields: &[Word]) -> Result<License, &'static str> {
    let [feature, vendor, version, end, count, rest @ ..] = fields else {
        return Err("it must have a feature, vendor, version, end and count");
    };
    Ok(License { adds, ..reader::license(at, [vendor, feature, version, end, count], rest)? })
}

/// `name vendor from_version to_version exp_date num_lic ...`
fn upgrade(at: &At, fields: &[Word]) -> Result<Upgrade, &'static str> {
    let [feature, vendor, from, to, end, count, rest @ ..] = fields else {
        return Err("it must have a feature, vendor, two versions, end and count");
    };
    reader::upgrade(at, [vendor, feature, from, to, end, count], rest)
}

/// `name vendor [version] [key] COMPONENTS="feature[:version[:count]] ..." [OPTIONS=SUITE] ...`
fn package(at: &At, fields: &[Word]) -> Result<Package, &'static str> {
    let [name, vendor, rest @ ..] = fields else { return Err("it must have a name and a vendor") };
    let version = rest.first().filter(|word| word.pair().is_none() && !word.quoted);
    let rest = &rest[usize::from(version.is_some())..];
    let is = |word: &Word, name: &str| word.pair().is_some_and(|(key, _)| key.eq_ignore_ascii_case(name));
    let components = rest.iter().filter(|word| is(word, "COMPONENTS")).filter_map(Word::pair);
    let components: Option<Vec<Component>> =
        components.flat_map(|(_, list)| list.split_whitespace()).map(component).collect();
    let components = components.ok_or("a component is not of the form feature:version:count")?;
    if components.is_empty() || components.len() > MAX_COMPONENTS {
        return Err("it must have COMPONENTS, a thousand at most");
    }
    let suite = |word: &Word| {
        is(word, "OPTIONS")
            && word.text.to_ascii_uppercase().split(['=', ' ', ',']).any(|option| option == "SUITE")
    };
    let others: Vec<Word> =
        rest.iter().filter(|word| !is(word, "COMPONENTS") && !suite(word)).cloned().collect();
    Ok(Package {
        at: at.clone(),
        name: name.text.clone(),
        vendor: vendor.text.clone(),
        version: version.map(|word| word.text.clone()),
        components,
        suite: rest.iter().any(suite),
        terms: terms(&others),
    })
}

fn component(text: &str) -> Option<Component> {
    let mut parts = text.split(':');
    let feature = parts.next().filter(|name| !name.is_empty())?.to_owned();
    let version = parts.next().filter(|version| !version.is_empty()).map(str::to_owned);
    let count = match parts.next() {
        None | Some("") => None,
        Some(count) => Some(count.parse::<u32>().ok().filter(|&n| n > 0)?.into()),
    };
    parts.next().is_none().then_some(Component { feature, version, count })
}
