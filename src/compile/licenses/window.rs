//! From when until when any of several licenses counts, as the validity of a plan: so servers stop by themselves at the last
//! end, whoever else is away.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::{
    api::{ApiDuration, Validity},
    license::document::{License, Place, State, Verified, states},
};

/// The time around `now` in which some license counts; where none does now, the next such time, else the last one. None:
/// there was none, and none comes.
pub(super) fn window(licenses: &[Verified], place: Place<'_>, now: Timestamp) -> Option<Validity> {
    let all: BTreeSet<Timestamp> = licenses.iter().map(Verified::license).flat_map(moments).collect();
    let at = |moment| states(licenses, moment, place);
    let counts = |moment| at(moment).into_iter().any(State::counts);
    let begin =
        if counts(now) { None } else { Some(all.range(now..).copied().find(|moment| counts(*moment))?) };
    let in_grace = |states: &[State]| {
        let ends = licenses.iter().zip(states).filter(|(_, state)| **state == State::Grace);
        ends.filter_map(|(license, _)| license.license().not_after).max()
    };
    // The end is where the last stretch without a valid one begins; where it has begun, that of the last one in grace.
    let from = begin.unwrap_or(now);
    let (mut ended, mut over) = (None, None);
    for moment in std::iter::once(from).chain(all.range(from..).copied().filter(|moment| *moment > from)) {
        let states = at(moment);
        if states.contains(&State::Valid) {
            ended = None;
        } else if states.contains(&State::Grace) {
            ended = ended.or_else(|| if moment > from { Some(moment) } else { in_grace(&states) });
        } else {
            over = Some(moment);
            break;
        }
    }
    Some(validity(begin, over.map(|over| (ended.unwrap_or(over), over))))
}

/// When the last of those that are over was it.
pub(super) fn past(licenses: &[Verified], place: Place<'_>, now: Timestamp) -> Option<Validity> {
    let expired =
        licenses.iter().zip(states(licenses, now, place)).filter(|(_, state)| *state == State::Expired);
    let over = expired.filter_map(|(license, _)| license.license().not_after).max()?;
    Some(validity(None, Some((over, over))))
}

/// When a license begins, ends, and counts no more.
pub(super) fn moments(license: &License) -> impl Iterator<Item = Timestamp> {
    [Some(license.not_before), license.not_after, license.over_at()].into_iter().flatten()
}

fn validity(begin: Option<Timestamp>, end: Option<(Timestamp, Timestamp)>) -> Validity {
    let grace = end.map(|(end, over)| over.duration_since(end).as_secs()).filter(|seconds| *seconds > 0);
    Validity {
        not_before: begin.map(Time),
        not_after: end.map(|(end, _)| Time(end)),
        grace_period: grace.map(|seconds| ApiDuration::from_secs(seconds.unsigned_abs())),
        expiry_warnings: None,
    }
}

/// When both count; the end is told as `a` says.
pub(super) fn both(a: &Validity, b: &Validity) -> Validity {
    let begin = [a, b].into_iter().filter_map(begins).max();
    let over = [a, b].into_iter().filter_map(over).min();
    let end = [a, b].into_iter().filter_map(ends).min();
    Validity { expiry_warnings: a.expiry_warnings.clone(), ..validity(begin, end.zip(over)) }
}

/// Whether it counts at `now`, its grace period included.
pub(super) fn running(validity: &Validity, now: Timestamp) -> bool {
    begins(validity).is_none_or(|begin| begin <= now) && over(validity).is_none_or(|over| now < over)
}

/// Whether it ever counts.
pub(super) fn is_empty(validity: &Validity) -> bool {
    begins(validity).zip(ends(validity)).is_some_and(|(begin, end)| begin >= end)
}

fn begins(validity: &Validity) -> Option<Timestamp> {
    validity.not_before.as_ref().map(|time| time.0)
}

fn ends(validity: &Validity) -> Option<Timestamp> {
    validity.not_after.as_ref().map(|time| time.0)
}

/// The end, with the grace period.
pub(super) fn over(validity: &Validity) -> Option<Timestamp> {
    let grace = validity.grace_period.map_or(std::time::Duration::ZERO, ApiDuration::get);
    ends(validity).map(|end| end.checked_add(grace).unwrap_or(Timestamp::MAX))
}
