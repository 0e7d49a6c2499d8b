//! FlexNet options files: what the administrator of the old server asked for.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    finding::{At, Findings, shown},
    model::{Policy, Rule, Selector, Subject, SubjectKind},
    reader::MAX_LINES,
    text::{Line, Word, lines},
};

/// The rules of a file. GROUP lines of one name add up, as there.
pub(super) fn read(file: &Arc<str>, text: &str, findings: &mut Findings) -> Vec<Rule> {
    let mut rules = Vec::new();
    for line in lines(text, |_| false) {
        let at = At { file: file.clone(), line: line.number };
        if rules.len() >= MAX_LINES {
            findings.lost(
                &at,
                format!("this and what follows is not read: there are more than {MAX_LINES} lines"),
                "",
            );
            break;
        }
        rules.push(Rule { at, what: policy(&line) });
    }
    undefined_groups(&rules, findings);
    rules
}

fn policy(line: &Line) -> Policy {
    let Some((keyword, rest)) = line.words.split_first() else { return Policy::Other(String::new()) };
    let form = |policy: Option<Policy>, form: &'static str| policy.unwrap_or(Policy::Malformed { form });
    match keyword.text.to_ascii_uppercase().as_str() {
        "RESERVE" => form(
            limit(rest).map(|(seats, feature, subject)| Policy::Reserve { seats, feature, subject }),
            "RESERVE count feature type name",
        ),
        "MAX" => form(
            limit(rest).map(|(seats, feature, subject)| Policy::Max { seats, feature, subject }),
            "MAX count feature type name",
        ),
        "INCLUDE" => access(rest, |feature, subject| Policy::Include { feature, subject }),
        "EXCLUDE" => access(rest, |feature, subject| Policy::Exclude { feature, subject }),
        "INCLUDE_BORROW" => access(rest, |feature, subject| Policy::IncludeBorrow { feature, subject }),
        "EXCLUDE_BORROW" => access(rest, |feature, subject| Policy::ExcludeBorrow { feature, subject }),
        "INCLUDEALL" => access_all(rest, |feature, subject| Policy::Include { feature, subject }),
        "EXCLUDEALL" => access_all(rest, |feature, subject| Policy::Exclude { feature, subject }),
        keyword @ ("GROUP" | "HOST_GROUP") => {
            form(group(rest, keyword == "HOST_GROUP"), "GROUP name member...")
        }
        "GROUPCASEINSENSITIVE" => form(switch(rest), "GROUPCASEINSENSITIVE ON or OFF"),
        "TIMEOUT" => number(rest, "TIMEOUT feature seconds", |feature, seconds| Policy::Timeout {
            feature: Some(feature),
            seconds,
        }),
        "TIMEOUTALL" => form(
            rest.last().and_then(whole).map(|seconds| Policy::Timeout { feature: None, seconds }),
            "TIMEOUTALL seconds",
        ),
        "LINGER" => {
            number(rest, "LINGER feature seconds", |feature, seconds| Policy::Linger { feature, seconds })
        }
        "MAX_OVERDRAFT" => number(rest, "MAX_OVERDRAFT feature count", |feature, seats| {
            Policy::MaxOverdraft { feature, seats }
        }),
        "MAX_BORROW_HOURS" => number(rest, "MAX_BORROW_HOURS feature hours", |feature, hours| {
            Policy::MaxBorrowHours { feature, hours }
        }),
        "BORROW_LOWWATER" => number(rest, "BORROW_LOWWATER feature count", |feature, seats| {
            Policy::BorrowLowWater { feature, seats }
        }),
        "REPORTLOG" => Policy::ReportLog,
        "DEBUGLOG" => Policy::DebugLog,
        "NOLOG" => Policy::NoLog(rest.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ")),
        _ => Policy::Other(keyword.text.clone()),
    }
}

/// `FEATURE`, `FEATURE:KEY=VALUE` or `FEATURE KEY=VALUE`, and the rest.
fn selector(words: &[Word]) -> Option<(Selector, &[Word])> {
    let (first, rest) = words.split_first()?;
    if let Some((feature, part)) = first.text.split_once(':') {
        return Some((Selector { feature: feature.to_owned(), part: Some(part.to_owned()) }, rest));
    }
    let feature = first.text.clone();
    match rest.split_first() {
        Some((part, rest)) if part.pair().is_some() => {
            Some((Selector { feature, part: Some(part.text.clone()) }, rest))
        }
        _ => Some((Selector { feature, part: None }, rest)),
    }
}

fn subject(words: &[Word]) -> Option<Subject> {
    let [kind, name] = words else { return None };
    let kind = match kind.text.to_ascii_uppercase().as_str() {
        "USER" => SubjectKind::User,
        "HOST" => SubjectKind::Host,
        "DISPLAY" => SubjectKind::Display,
        "INTERNET" => SubjectKind::Internet,
        "PROJECT" => SubjectKind::Project,
        "GROUP" => SubjectKind::Group,
        "HOST_GROUP" => SubjectKind::HostGroup,
        _ => return None,
    };
    Some(Subject { kind, name: name.text.clone() })
}

fn whole(word: &Word) -> Option<u64> {
    word.text.parse::<u32>().ok().map(u64::from)
}

fn limit(words: &[Word]) -> Option<(u64, Selector, Subject)> {
    let (count, rest) = words.split_first()?;
    let (feature, rest) = selector(rest)?;
    Some((whole(count)?, feature, subject(rest)?))
}

fn access(words: &[Word], make: impl FnOnce(Option<Selector>, Subject) -> Policy) -> Policy {
    let read = selector(words).and_then(|(feature, rest)| Some((feature, subject(rest)?)));
    match read {
        Some((feature, subject)) => make(Some(feature), subject),
        None => Policy::Malformed { form: "KEYWORD feature type name" },
    }
}

fn access_all(words: &[Word], make: impl FnOnce(Option<Selector>, Subject) -> Policy) -> Policy {
    match subject(words) {
        Some(subject) => make(None, subject),
        None => Policy::Malformed { form: "KEYWORD type name" },
    }
}

fn number(words: &[Word], form: &'static str, make: impl FnOnce(Selector, u64) -> Policy) -> Policy {
    let read = selector(words).and_then(|(feature, rest)| Some((feature, whole(rest.first()?)?)));
    read.map_or(Policy::Malformed { form }, |(feature, number)| make(feature, number))
}

fn group(words: &[Word], hosts: bool) -> Option<Policy> {
    let (name, members) = words.split_first()?;
    let members = members.iter().map(|word| word.text.clone()).collect();
    Some(Policy::Group { name: name.text.clone(), members, hosts })
}

fn switch(words: &[Word]) -> Option<Policy> {
    match words.first()?.text.to_ascii_uppercase().as_str() {
        "ON" => Some(Policy::GroupCaseInsensitive(true)),
        "OFF" => Some(Policy::GroupCaseInsensitive(false)),
        _ => None,
    }
}

/// A rule for a group that no line defines: there it meant nobody.
fn undefined_groups(rules: &[Rule], findings: &mut Findings) {
    let defined: BTreeSet<(bool, String)> = rules
        .iter()
        .filter_map(|rule| match &rule.what {
            Policy::Group { name, hosts, .. } => Some((*hosts, name.to_lowercase())),
            _ => None,
        })
        .collect();
    for rule in rules {
        let Some(subject) = rule.what.subject() else { continue };
        let hosts = match subject.kind {
            SubjectKind::Group => false,
            SubjectKind::HostGroup => true,
            _ => continue,
        };
        if !defined.contains(&(hosts, subject.name.to_lowercase())) {
            findings.note(&rule.at, format!("no line defines the group {}", shown(&subject.name)));
        }
    }
}
