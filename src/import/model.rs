//! What license and options files say, in types: all of it, also what genie-lm has no field for yet.

use jiff::civil::Date;

use super::{date::Ends, finding::At};

/// What one import reads.
#[derive(Debug, Default)]
pub(super) struct Licenses {
    pub grants: Vec<License>,
    pub packages: Vec<Package>,
    pub upgrades: Vec<Upgrade>,
}

/// A FEATURE or INCREMENT line of FlexNet, a LICENSE line of RLM.
#[derive(Clone, Debug)]
pub(super) struct License {
    pub at: At,
    /// Its seats add to those of other lines; of several FEATURE lines only the first counts.
    pub adds: bool,
    pub feature: String,
    pub vendor: String,
    pub version: String,
    pub ends: Ends,
    pub count: Count,
    pub terms: Vec<Keyword>,
}

/// How many may use something at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    Uncounted,
    Seats(u64),
}

impl Count {
    pub fn plus(self, other: Count) -> Count {
        match (self, other) {
            (Count::Seats(a), Count::Seats(b)) => Count::Seats(a.saturating_add(b)),
            _ => Count::Uncounted,
        }
    }

    pub fn times(self, factor: u64) -> Count {
        match self {
            Count::Seats(seats) => Count::Seats(seats.saturating_mul(factor)),
            Count::Uncounted => Count::Uncounted,
        }
    }
}

impl Count {
    /// Whether it is as many, or more.
    pub fn reaches(self, other: Count) -> bool {
        match (self, other) {
            (Count::Uncounted, _) => true,
            (Count::Seats(_), Count::Uncounted) => false,
            (Count::Seats(a), Count::Seats(b)) => a >= b,
        }
    }
}

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Count::Uncounted => f.write_str("uncounted"),
            Count::Seats(1) => f.write_str("1 seat"),
            Count::Seats(seats) => write!(f, "{seats} seats"),
        }
    }
}

/// A PACKAGE line: what a FEATURE or INCREMENT line of the same name brings.
#[derive(Clone, Debug)]
pub(super) struct Package {
    pub at: At,
    pub name: String,
    pub vendor: String,
    pub version: Option<String>,
    pub components: Vec<Component>,
    /// A seat of the package is taken along with those of its components.
    pub suite: bool,
    pub terms: Vec<Keyword>,
}

/// A feature of a package; version and count come from the line that enables it where they are absent.
#[derive(Clone, Debug)]
pub(super) struct Component {
    pub feature: String,
    pub version: Option<String>,
    pub count: Option<u64>,
}

/// An UPGRADE line: seats of an older version become seats of a newer one.
#[derive(Clone, Debug)]
pub(super) struct Upgrade {
    pub at: At,
    pub feature: String,
    pub vendor: String,
    pub from: String,
    pub to: String,
    pub ends: Ends,
    pub count: Count,
    pub terms: Vec<Keyword>,
}

/// A keyword of a license line.
#[derive(Clone, Debug)]
pub(super) struct Keyword {
    /// As the file has it.
    pub text: String,
    pub term: Term,
}

/// What a keyword means.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Term {
    Issued(Date),
    Start(Date),
    /// Licenses of these features (of its own, where empty) issued before this one do not count any more.
    Supersede(Vec<String>),
    /// The same, by the signatures of those lines.
    SupersedeSigned,
    /// Order among lines; 100 where it is absent.
    Sort(u32),
    /// A signature, or the license key of older versions.
    Signature,
    /// What nobody acts on: serial number, issuer, notice and the like.
    Information,
    HostId(String),
    /// Hours.
    Borrow(Option<u32>),
    Overdraft(u64),
    DupGroup(String),
    SuiteDupGroup(String),
    /// Seconds.
    Linger(u32),
    /// Seconds, for RLM's min_timeout and min_checkout.
    MinTime(u32),
    UserBased(Option<u32>),
    HostBased(Option<u32>),
    NamedUser(String),
    Platforms(String),
    VendorString(String),
    FloatOk,
    TerminalServerOk,
    TimeZone(String),
    /// RLM: seats above this are overdraft.
    SoftLimit(u64),
    /// Not a keyword that is known.
    Unknown,
    /// A known keyword whose value is none.
    Malformed,
}

impl License {
    pub fn starts(&self) -> Option<Date> {
        first(&self.terms, |term| if let Term::Start(date) = term { Some(*date) } else { None })
    }

    pub fn issued(&self) -> Option<Date> {
        issued(&self.terms)
    }

    pub fn sort(&self) -> u32 {
        first(&self.terms, |term| if let Term::Sort(n) = term { Some(*n) } else { None }).unwrap_or(100)
    }

    /// Bound to a host; ANY and DEMO bind to none.
    pub fn is_node_locked(&self) -> bool {
        self.terms.iter().any(|word| matches!(&word.term, Term::HostId(id) if !is_any_host(id)))
    }
}

fn first<T>(terms: &[Keyword], is: impl Fn(&Term) -> Option<T>) -> Option<T> {
    terms.iter().find_map(|word| is(&word.term))
}

/// Where ISSUED is absent, START is taken for it.
pub(super) fn issued(terms: &[Keyword]) -> Option<Date> {
    let issued = first(terms, |term| if let Term::Issued(date) = term { Some(*date) } else { None });
    issued.or_else(|| first(terms, |term| if let Term::Start(date) = term { Some(*date) } else { None }))
}

pub(super) fn is_any_host(id: &str) -> bool {
    id.eq_ignore_ascii_case("ANY") || id.eq_ignore_ascii_case("DEMO")
}

/// A line of an options file.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub at: At,
    pub what: Policy,
}

/// What an options file can ask for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Policy {
    Reserve {
        seats: u64,
        feature: Selector,
        subject: Subject,
    },
    Max {
        seats: u64,
        feature: Selector,
        subject: Subject,
    },
    /// `feature` is absent for the ...ALL forms.
    Include {
        feature: Option<Selector>,
        subject: Subject,
    },
    Exclude {
        feature: Option<Selector>,
        subject: Subject,
    },
    IncludeBorrow {
        feature: Option<Selector>,
        subject: Subject,
    },
    ExcludeBorrow {
        feature: Option<Selector>,
        subject: Subject,
    },
    Group {
        name: String,
        members: Vec<String>,
        hosts: bool,
    },
    GroupCaseInsensitive(bool),
    /// Seconds without use after which a seat is taken back.
    Timeout {
        feature: Option<Selector>,
        seconds: u64,
    },
    Linger {
        feature: Selector,
        seconds: u64,
    },
    MaxOverdraft {
        feature: Selector,
        seats: u64,
    },
    MaxBorrowHours {
        feature: Selector,
        hours: u64,
    },
    BorrowLowWater {
        feature: Selector,
        seats: u64,
    },
    ReportLog,
    DebugLog,
    NoLog(String),
    /// A keyword that is not known here.
    Other(String),
    /// A known keyword, and a line that is not of its form.
    Malformed {
        form: &'static str,
    },
}

impl Policy {
    /// Whom it is about.
    pub fn subject(&self) -> Option<&Subject> {
        match self {
            Policy::Reserve { subject, .. }
            | Policy::Max { subject, .. }
            | Policy::Include { subject, .. }
            | Policy::Exclude { subject, .. }
            | Policy::IncludeBorrow { subject, .. }
            | Policy::ExcludeBorrow { subject, .. } => Some(subject),
            _ => None,
        }
    }

    /// The feature that it is about, where it is about one.
    pub fn feature(&self) -> Option<&Selector> {
        match self {
            Policy::Reserve { feature, .. }
            | Policy::Max { feature, .. }
            | Policy::Linger { feature, .. }
            | Policy::MaxOverdraft { feature, .. }
            | Policy::MaxBorrowHours { feature, .. }
            | Policy::BorrowLowWater { feature, .. } => Some(feature),
            Policy::Include { feature, .. }
            | Policy::Exclude { feature, .. }
            | Policy::IncludeBorrow { feature, .. }
            | Policy::ExcludeBorrow { feature, .. }
            | Policy::Timeout { feature, .. } => feature.as_ref(),
            _ => None,
        }
    }
}

/// The feature of an options line; `FEATURE:KEY=VALUE` is a part of its licenses.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Selector {
    pub feature: String,
    pub part: Option<String>,
}

/// Whom an options line is about.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Subject {
    pub kind: SubjectKind,
    pub name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SubjectKind {
    User,
    Host,
    Display,
    Internet,
    Project,
    Group,
    HostGroup,
}
