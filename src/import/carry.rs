//! What becomes of each keyword and of each rule: the one place that says what genie-lm can carry over. When a field
//! comes, its arm here changes, and `pool` writes it.

use super::{
    finding::shown,
    model::{Keyword, Policy, Selector, Subject, SubjectKind, Term, Upgrade, is_any_host},
};
use crate::api::Version;

/// What becomes of a piece of a line.
#[derive(Debug, PartialEq)]
pub(super) enum Fate {
    /// The manifests say it, or it has done its work.
    Carried,
    /// Nobody acts on it: it is written above the pool as a comment.
    Comment(String),
    /// Needs no carrying, and this is why.
    Needless(String),
    /// There is no field for it.
    Lost { what: String, meanwhile: &'static str },
}

fn lost(what: String, missing: &str, meanwhile: &'static str) -> Fate {
    Fate::Lost { what: format!("{what}: this version of genie-lm has no {missing} yet"), meanwhile }
}

const TO_THAT_HOST: &str = "give the grant's activation key to that host only";
const SEAT_EACH: &str = "each session takes a seat of its own: expect to need more seats";
const KEYS_ONLY: &str = "who has a grant's activation key may use it: make a grant for each group, with seats.max, and hand out its key";
const NO_BORROWING: &str = "clients must reach the server while they run";

const NO_VERSION: &str = "a version here is one to four numbers with dots between";
const ANY_VERSION: &str = "clients of every version get a seat: let the application check its own";

/// The version of a line of `feature`.
pub(super) fn version(feature: &str, text: &str) -> Result<Version, Fate> {
    let what = || format!("version {} of {}: {NO_VERSION}", shown(text), shown(feature));
    text.parse().map_err(|_| Fate::Lost { what: what(), meanwhile: ANY_VERSION })
}

/// An UPGRADE line: the seats stay as many.
pub(super) fn upgrade(upgrade: &Upgrade) -> Fate {
    if upgrade.to.parse::<Version>().is_ok() {
        return Fate::Carried;
    }
    let (from, to, name) = (shown(&upgrade.from), shown(&upgrade.to), shown(&upgrade.feature));
    let what = format!("UPGRADE of {name} from {from} to {to} ({}): {NO_VERSION}", upgrade.count);
    Fate::Lost { what, meanwhile: "clients of the newer version get no seat" }
}

/// A keyword of a line of `feature`.
pub(super) fn keyword(feature: &str, word: &Keyword) -> Fate {
    let text = shown(&word.text);
    let this = || format!("{text} of {}", shown(feature));
    let lost = |missing: &str, meanwhile: &'static str| lost(this(), missing, meanwhile);
    match &word.term {
        // A signature is told of once a file.
        Term::Issued(_) | Term::Start(_) | Term::Supersede(_) | Term::Sort(_) | Term::Signature => {
            Fate::Carried
        }
        Term::Information => Fate::Comment(text),
        Term::TerminalServerOk => Fate::Needless(this() + ": genie-lm refuses no terminal server"),
        Term::HostId(id) if is_any_host(id) => Fate::Needless(this() + ": binds to no host"),
        Term::DupGroup(value) if value.eq_ignore_ascii_case("NONE") => {
            Fate::Needless(this() + ": here too, each session takes a seat")
        }
        Term::HostId(_) => lost("host locks", TO_THAT_HOST),
        Term::FloatOk => lost("dongles", "the seats float without one"),
        Term::Borrow(_) => lost("borrowing", NO_BORROWING),
        Term::Overdraft(_) => lost("overdraft", "the seats without it are the limit"),
        Term::SoftLimit(_) => {
            lost("overdraft", "all seats are given, and none is reported as above the limit")
        }
        Term::DupGroup(_) | Term::SuiteDupGroup(_) => lost("counting by user or host", SEAT_EACH),
        Term::Linger(_) => lost("linger", "a seat is free when it is given back"),
        Term::MinTime(_) => lost("least times", "a seat is free when it is given back"),
        Term::UserBased(_) | Term::NamedUser(_) => lost("named users", KEYS_ONLY),
        Term::HostBased(_) => lost("named hosts", KEYS_ONLY),
        Term::Platforms(_) => lost("rules for platforms", KEYS_ONLY),
        Term::TimeZone(_) => lost("rules for time zones", KEYS_ONLY),
        Term::VendorString(_) => {
            lost("data of the vendor's own", "an application that reads it must be given it in another way")
        }
        Term::SupersedeSigned => Fate::Lost {
            what: this() + ": lines are not superseded by their signatures",
            meanwhile: "remove the lines that this one replaces",
        },
        Term::Unknown => Fate::Lost {
            what: this() + ": it is not a keyword that is known",
            meanwhile: "ask the vendor what it means",
        },
        Term::Malformed => {
            Fate::Lost { what: this() + ": it is not understood", meanwhile: "repair it, or ask the vendor" }
        }
    }
}

/// A line of an options file.
pub(super) fn policy(policy: &Policy) -> Fate {
    match policy {
        Policy::Reserve { seats, feature, subject } => lost(
            format!("RESERVE {seats} of {} for {}", name(feature), whom(subject)),
            "reservations",
            "all have the same chance of a seat; limit the others with seats.max of their grants",
        ),
        Policy::Max { seats, feature, subject } => lost(
            format!("MAX {seats} of {} for {}", name(feature), whom(subject)),
            "rules for users",
            KEYS_ONLY,
        ),
        Policy::Include { feature, subject } => {
            lost(format!("INCLUDE {} for {}", all(feature), whom(subject)), "rules for users", KEYS_ONLY)
        }
        Policy::Exclude { feature, subject } => {
            lost(format!("EXCLUDE {} for {}", all(feature), whom(subject)), "rules for users", KEYS_ONLY)
        }
        Policy::IncludeBorrow { feature, subject } => {
            lost(format!("INCLUDE_BORROW {} for {}", all(feature), whom(subject)), "borrowing", NO_BORROWING)
        }
        Policy::ExcludeBorrow { feature, subject } => {
            lost(format!("EXCLUDE_BORROW {} for {}", all(feature), whom(subject)), "borrowing", NO_BORROWING)
        }
        Policy::Group { name, members, hosts } => {
            let what = if *hosts { "HOST_GROUP" } else { "GROUP" };
            let many = members.len();
            let what =
                format!("{what} {} with {many} member{}", shown(name), if many == 1 { "" } else { "s" });
            lost(what, "groups", KEYS_ONLY)
        }
        Policy::GroupCaseInsensitive(_) => lost("GROUPCASEINSENSITIVE".to_owned(), "groups", KEYS_ONLY),
        Policy::Timeout { feature, seconds } => lost(
            format!("TIMEOUT of {} after {seconds} s", all(feature)),
            "time-out of seats without use",
            "a seat comes back when its program ends, or session.ttl after it was last heard of",
        ),
        Policy::Linger { feature, seconds } => lost(
            format!("LINGER of {} for {seconds} s", name(feature)),
            "linger",
            "a seat is free when it is given back",
        ),
        Policy::MaxOverdraft { feature, seats } => lost(
            format!("MAX_OVERDRAFT {seats} of {}", name(feature)),
            "overdraft",
            "the seats without it are the limit",
        ),
        Policy::MaxBorrowHours { feature, hours } => {
            lost(format!("MAX_BORROW_HOURS {hours} of {}", name(feature)), "borrowing", NO_BORROWING)
        }
        Policy::BorrowLowWater { feature, seats } => {
            lost(format!("BORROW_LOWWATER {seats} of {}", name(feature)), "borrowing", NO_BORROWING)
        }
        Policy::ReportLog => lost("REPORTLOG".to_owned(), "report log", "use the server's metrics"),
        Policy::DebugLog => Fate::Needless("DEBUGLOG: the servers log to stderr, as pods do".to_owned()),
        Policy::NoLog(what) => lost(
            format!("NOLOG {}", shown(what)),
            "choice of what is logged",
            "set the level of the log with server.logLevel",
        ),
        Policy::Other(keyword) => Fate::Lost {
            what: format!("the option {} is not known", shown(keyword)),
            meanwhile: "read in the old server's manual what it does",
        },
        Policy::Malformed { form } => Fate::Lost {
            what: format!("this line is not understood: it must be {form}"),
            meanwhile: "repair it",
        },
    }
}

fn name(selector: &Selector) -> String {
    let part = selector.part.as_ref().map(|part| format!(":{}", shown(part)));
    shown(&selector.feature) + &part.unwrap_or_default()
}

fn all(selector: &Option<Selector>) -> String {
    selector.as_ref().map_or("all features".to_owned(), name)
}

fn whom(subject: &Subject) -> String {
    let kind = match subject.kind {
        SubjectKind::User => "user",
        SubjectKind::Host => "host",
        SubjectKind::Display => "display",
        SubjectKind::Internet => "address",
        SubjectKind::Project => "project",
        SubjectKind::Group => "group",
        SubjectKind::HostGroup => "host group",
    };
    format!("{kind} {}", shown(&subject.name))
}
