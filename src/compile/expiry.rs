//! Moments at which something of a plan begins or ends.

use jiff::Timestamp;

use crate::{
    api::{SeatPlanSpec, Validity},
    license::{warning_moments, warning_times},
};

/// The next moment after `now` at which something of the plan begins or ends, a grace period included, or an end is
/// warned of: until then no answer changes by time alone.
pub fn next_expiry(plan: &SeatPlanSpec, now: Timestamp) -> Option<Timestamp> {
    let changes = validities(plan).flat_map(moments);
    changes.chain(warnings(plan)).filter(|&moment| moment > now).min()
}

/// When the pool's end is warned of, and that of each grant; a feature's is not.
fn warnings(plan: &SeatPlanSpec) -> impl Iterator<Item = Timestamp> {
    let pool = &plan.validity;
    let of_pool = end(pool).into_iter().flat_map(|end| warning_moments(end, warning_times(None, pool)));
    let of_grants = plan.grants.iter().filter_map(|grant| Some((end(&grant.validity)?, &grant.validity)));
    of_pool.chain(of_grants.flat_map(|(end, own)| warning_moments(end, warning_times(Some(own), pool))))
}

/// The next moment after `now` at which the pool, a feature or a grant ends; when all is over, the pool's own end.
pub fn expires(plan: &SeatPlanSpec, now: Timestamp) -> Option<Timestamp> {
    let coming = validities(plan).filter_map(end).filter(|&moment| moment > now).min();
    coming.or_else(|| end(&plan.validity))
}

/// The first end of several validities.
pub(super) fn earliest_end(validities: [Option<&Validity>; 2]) -> Option<Timestamp> {
    validities.into_iter().flatten().filter_map(end).min()
}

fn validities(plan: &SeatPlanSpec) -> impl Iterator<Item = &Validity> {
    let features = plan.features.iter().map(|feature| &feature.validity);
    let grants = plan.grants.iter().map(|grant| &grant.validity);
    std::iter::once(&plan.validity).chain(features).chain(grants)
}

fn end(validity: &Validity) -> Option<Timestamp> {
    validity.not_after.as_ref().map(|time| time.0)
}

fn moments(validity: &Validity) -> impl Iterator<Item = Timestamp> {
    let begin = validity.not_before.as_ref().map(|time| time.0);
    let grace = validity.grace_period.and_then(|grace| end(validity)?.checked_add(grace.get()).ok());
    [begin, end(validity), grace].into_iter().flatten()
}
