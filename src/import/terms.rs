//! The keywords of a license line, of FlexNet and of RLM.

use super::{
    date::date,
    model::{Keyword, Term, is_any_host},
    text::Word,
};

/// The terms of the words after the fixed fields. Keywords are of any case. In the oldest form three words have no
/// keyword: the license key, the vendor's string in quotes, and the host.
pub(super) fn terms(words: &[Word]) -> Vec<Keyword> {
    let mut has_key = false;
    let mut keyword = |word: &Word| {
        let mut term = term(word);
        if term == Term::Signature && word.pair().is_none() && std::mem::replace(&mut has_key, true) {
            term = Term::HostId(word.text.clone());
        }
        Keyword { text: word.text.clone(), term }
    };
    words.iter().map(&mut keyword).collect()
}

/// Whether a line has a signature. Before the seventh word only keywords can be one.
pub(super) fn is_signed(words: &[Word]) -> bool {
    let may_be = |(index, word): &(usize, &Word)| *index > 5 || word.pair().is_some();
    words.iter().enumerate().filter(may_be).any(|(_, word)| term(word) == Term::Signature)
}

fn term(word: &Word) -> Term {
    let (key, value) = word.pair().unwrap_or((&word.text, ""));
    if word.quoted {
        return Term::VendorString(word.text.clone());
    }
    if is_any_host(&word.text) {
        return Term::HostId(word.text.clone());
    }
    known(&key.to_ascii_lowercase(), value).unwrap_or_else(|| {
        if word.pair().is_none() && is_license_key(&word.text) { Term::Signature } else { Term::Unknown }
    })
}

fn known(key: &str, value: &str) -> Option<Term> {
    let text = || value.to_owned();
    let or_malformed = |term: Option<Term>| term.unwrap_or(Term::Malformed);
    let number = || value.trim().parse::<u32>().ok();
    // Bare, or with a number.
    let optional = |make: fn(Option<u32>) -> Term| match (value.is_empty(), number()) {
        (true, _) => make(None),
        (false, Some(n)) => make(Some(n)),
        (false, None) => Term::Malformed,
    };
    Some(match key {
        "issued" => or_malformed(date(value).map(Term::Issued)),
        "start" => or_malformed(date(value).map(Term::Start)),
        "supersede" | "replace" => Term::Supersede(list(value)),
        "supersede_sign" => Term::SupersedeSigned,
        "sort" | "_sort" => or_malformed(number().map(Term::Sort)),
        "sign" | "sign2" | "sig" | "auth" | "key" | "ck" | "_ck" | "_id" | "suite_sign" => Term::Signature,
        "sn" | "issuer" | "notice" | "dist_info" | "user_info" | "asset_info" | "vendor_info"
        | "_line_info" | "customer" | "contract" | "akey" | "_notes" => Term::Information,
        "hostid" => Term::HostId(text()),
        "borrow" => optional(Term::Borrow),
        "max_roam" => or_malformed(number().map(|days| Term::Borrow(Some(days.saturating_mul(24))))),
        "overdraft" => or_malformed(number().map(|n| Term::Overdraft(n.into()))),
        "soft_limit" => or_malformed(number().map(|n| Term::SoftLimit(n.into()))),
        "dup_group" | "share" => Term::DupGroup(text()),
        "suite_dup_group" => Term::SuiteDupGroup(text()),
        "linger" | "hold" => or_malformed(number().map(Term::Linger)),
        "min_timeout" | "min_checkout" => or_malformed(number().map(Term::MinTime)),

        "user_based" => optional(Term::UserBased),
        "host_based" => optional(Term::HostBased),
        "named_user" => Term::NamedUser(text()),
        "platforms" | "vm_platforms" | "disable" => Term::Platforms(text()),
        "vendor_string" | "options" => Term::VendorString(text()),
        "float_ok" => Term::FloatOk,
        "ts_ok" => Term::TerminalServerOk,
        "tz" | "timezone" => Term::TimeZone(text()),
        _ => return None,
    })
}

fn list(value: &str) -> Vec<String> {
    value.split_whitespace().map(str::to_owned).collect()
}

/// The license key of older versions: 12 to 40 hexadecimal digits, or 0 where there is none.
fn is_license_key(word: &str) -> bool {
    word == "0" || ((8..=64).contains(&word.len()) && word.bytes().all(|c| c.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::text::lines;

    fn read(text: &str) -> Vec<Term> {
        terms(&lines(text, |_| false)[0].words).into_iter().map(|word| word.term).collect()
    }

    #[test]
    fn the_oldest_form_has_a_key_a_string_and_a_host_without_keywords() {
        let (vendor, host) =
            (Term::VendorString("tier gold".to_owned()), Term::HostId("0011AA22BB33".to_owned()));
        assert_eq!(read("AB12CD34EF56 \"tier gold\" 0011AA22BB33"), [Term::Signature, vendor, host]);
        assert_eq!(read("0 DEMO"), [Term::Signature, Term::HostId("DEMO".to_owned())]);
    }

    #[test]
    fn keywords_are_of_any_case_and_their_values_are_checked() {
        assert_eq!(
            read("Borrow overdraft=3 LINGER=soon"),
            [Term::Borrow(None), Term::Overdraft(3), Term::Malformed]
        );
        assert_eq!(read("SUPERSEDE=\"a b\""), [Term::Supersede(vec!["a".to_owned(), "b".to_owned()])]);
        assert_eq!(read("SPEED=fast whatever"), [Term::Unknown, Term::Unknown]);
    }
}
