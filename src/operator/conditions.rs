//! Conditions after the API conventions: a transition time that moves only with the status, and what changed, for events.
//! Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::license::Nearing;

/// The condition of an end that is near; there only while it holds, and no news is good news.
pub const EXPIRING: &str = "Expiring";

/// What a condition says, without its history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Says {
    /// Such as `Ready`.
    pub type_: &'static str,
    /// `True`, `False` or `Unknown`.
    pub status: &'static str,
    /// In CamelCase.
    pub reason: String,
    /// A sentence.
    pub message: String,
}

impl Says {
    /// A condition that holds, or does not.
    pub fn new(
        type_: &'static str,
        holds: bool,
        reason: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        let status = if holds { "True" } else { "False" };
        Self { type_, status, reason: reason.into(), message: message.into() }
    }

    /// A condition that is about to be decided.
    pub fn unknown(type_: &'static str, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { type_, status: "Unknown", reason: reason.into(), message: message.into() }
    }

    /// Whether it is True.
    pub fn holds(&self) -> bool {
        self.status == "True"
    }
}

/// The condition of what ends soon, or has ended and still works.
pub fn nearing(nearing: Nearing, subject: &str, remedy: &str) -> Says {
    let reason = match nearing {
        Nearing::Ends { .. } => "EndsSoon",
        Nearing::Grace { .. } => "GracePeriod",
    };
    Says::new(EXPIRING, true, reason, format!("{subject} {nearing}: {remedy}"))
}

/// The new conditions: of each type that is said, with the old transition time where the status is the same.
pub fn merge(old: &[Condition], said: &[Says], generation: Option<i64>, now: Timestamp) -> Vec<Condition> {
    let condition = |says: &Says| {
        let before = old.iter().find(|old| old.type_ == says.type_ && old.status == says.status);
        Condition {
            type_: says.type_.into(),
            status: says.status.into(),
            reason: says.reason.clone(),
            message: says.message.clone(),
            observed_generation: generation,
            last_transition_time: before
                .map_or_else(|| Time(whole_seconds(now)), |old| old.last_transition_time.clone()),
        }
    };
    said.iter().map(condition).collect()
}

/// What is news for a reader of events: a condition with another reason than before; each reason once, because one
/// cause shows in several conditions. What begins as it should is no news, but for Ready.
pub fn news<'a>(old: &[Condition], said: &'a [Says]) -> Vec<&'a Says> {
    let mut news: Vec<&Says> = Vec::new();
    for says in said.iter().filter(|says| is_news(old, says)) {
        if !news.iter().any(|told| told.reason == says.reason) {
            news.push(says);
        }
    }
    news
}

fn is_news(old: &[Condition], says: &Says) -> bool {
    if says.status == "Unknown" {
        return false;
    }
    match old.iter().find(|old| old.type_ == says.type_) {
        // Its message is another one at each time that the user chose.
        old if says.type_ == EXPIRING => old.is_none_or(|old| old.message != says.message),
        None => says.type_ == "LedgerSetBack" || (says.type_ == "Accepted" && !says.holds()),
        Some(old) if old.status == "Unknown" => says.type_ == "Ready" || !says.holds(),
        Some(old) => old.reason != says.reason,
    }
}

/// A status must read back as it was written, and times are written in seconds.
fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let first = merge(&[], &[Says::new("Ready", false, "NoOwner", "…")], Some(1), at(10));
        let second = merge(&first, &[Says::new("Ready", false, "NoPods", "…")], Some(2), at(20));
        assert_eq!(second[0].last_transition_time.0, at(10));
        assert_eq!(second[0].observed_generation, Some(2));
        let third = merge(&second, &[Says::new("Ready", true, "Ready", "…")], Some(2), at(30));
        assert_eq!(third[0].last_transition_time.0, at(30));
    }

    #[test]
    fn a_new_reason_is_news_and_a_new_message_is_not() {
        let old = merge(&[], &[Says::new("Ready", false, "NoOwner", "one")], None, at(1));
        assert!(news(&old, &[Says::new("Ready", false, "NoOwner", "two")]).is_empty());
        assert_eq!(news(&old, &[Says::new("Ready", true, "Ready", "…")]).len(), 1);
    }

    #[test]
    fn an_end_is_told_when_it_first_nears_and_with_each_new_text() {
        let says = |within: &str| [Says::new(EXPIRING, true, "EndsSoon", within)];
        assert_eq!(news(&[], &says("a week")).len(), 1);
        let old = merge(&[], &says("a week"), None, at(1));
        assert!(news(&old, &says("a week")).is_empty());
        assert_eq!(news(&old, &says("a day")).len(), 1);
    }

    #[test]
    fn one_cause_in_several_conditions_is_told_once() {
        let said =
            ["Accepted", "Authorized", "Ready"].map(|type_| Says::new(type_, false, "PoolNotFound", "…"));
        assert_eq!(news(&[], &said), [&said[0]]);
    }

    #[test]
    fn a_grant_that_begins_as_it_should_is_told_once() {
        let begun =
            [Says::new("Accepted", true, "Accepted", "…"), Says::unknown("Ready", "PlanPending", "…")];
        assert!(news(&[], &begun).is_empty());
        let old = merge(&[], &begun, None, at(1));
        let done = [Says::new("Accepted", true, "Accepted", "…"), Says::new("Ready", true, "Ready", "…")];
        assert_eq!(news(&old, &done), [&done[1]]);
    }
}
