//! When the MAC keys of a server are rotated. Pure: `S-keys`, what its pools ask for and a time → the next step, and its
//! moment.
//!
//! A rotation adds the next key, and lets it sign when every server has it. Tokens of earlier keys stay good. One
//! annotation is all that is remembered: when the last key was added.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;

use crate::{
    api::LicensePool,
    compile::PoolReason,
    license::{MAC_KEY, MacKeys, MacKeysError},
    operator::{
        conditions::Says,
        names::{KEYS_ADDED_AT, ROTATE_KEYS},
    },
};

/// How long a key is handed out before it signs. A kubelet looks at the volumes of a pod about once a minute, and may take
/// a Secret from a cache that is a minute old; the server reads it at once. This is more than twice that: for the write
/// itself, and for an operator on another clock that takes the second step.
pub const HANDING_OUT: SignedDuration = SignedDuration::from_mins(5);

/// What is to be done with the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A key waits, and nobody knows since when: it has been handed out from now on.
    Mark,
    /// The next key is made, and handed out.
    Add,
    /// The key that was handed out signs.
    Use,
}

/// The keys of a server, and how far their rotation is.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// The keys.
    pub keys: MacKeys,
    /// When the last one was added.
    pub added_at: Option<Timestamp>,
}

impl Rotation {
    /// As a Secret has it. Where no key was ever added, the first came with the Secret.
    pub fn of(secret: &Secret, now: Timestamp) -> Result<Self, MacKeysError> {
        let entries = secret.data.iter().flatten().map(|(name, value)| (name, &value.0));
        let keys = MacKeys::read(entries)?;
        let noted = secret.annotations().get(KEYS_ADDED_AT).and_then(|text| text.parse().ok());
        let created = secret.creation_timestamp().map(|time| time.0).filter(|_| keys.waiting().is_none());
        Ok(Self { keys, added_at: noted.filter(|at| *at <= now).or(created) })
    }

    /// The next step and its moment. `asked`: keys of before then shall sign no more. `interval`: how long a key signs.
    pub fn next(
        &self,
        asked: impl IntoIterator<Item = Timestamp>,
        interval: SignedDuration,
        now: Timestamp,
    ) -> (Step, Timestamp) {
        let Some(added) = self.added_at else { return (Step::Mark, now) };
        if self.keys.waiting().is_some() {
            return (Step::Use, added + HANDING_OUT);
        }
        let asked = asked.into_iter().filter(|time| *time > added);
        (Step::Add, asked.fold(added + interval, Timestamp::min))
    }

    /// What a step leaves, and what it tells. `key` is what [`Step::Add`] adds.
    pub fn after<E>(
        mut self,
        step: Step,
        now: Timestamp,
        key: impl FnOnce() -> Result<[u8; MAC_KEY], E>,
    ) -> Result<(Self, Option<Says>), E> {
        let says = |reason, message| Some(Says::new("KeyRotation", true, reason, message));
        let told = match step {
            Step::Mark => {
                self.added_at = Some(now);
                None
            }
            Step::Add => {
                let number = self.keys.add(key()?);
                self.added_at = Some(now);
                let signs = Timestamp::from_second((now + HANDING_OUT).as_second()).unwrap_or(now);
                says("KeyAdded", format!("the servers get MAC key {number}, which signs from {signs}"))
            }
            Step::Use => self.keys.advance().and_then(|number| {
                let message = format!("MAC key {number} signs; tokens of the keys before it stay good");
                says("KeyInUse", message)
            }),
        };
        Ok((self, told))
    }
}

/// The moments that pools ask for.
pub fn asked(pools: &[Arc<LicensePool>]) -> impl Iterator<Item = Timestamp> {
    pools.iter().filter_map(|pool| pool.annotations().get(ROTATE_KEYS)?.parse().ok())
}

/// What a user should know who asked, and was not understood.
pub fn misunderstood(pool: &LicensePool) -> Option<PoolReason> {
    pool.annotations().get(ROTATE_KEYS)?.parse::<Timestamp>().err()?;
    Some(PoolReason::Invalid {
        path: format!("metadata.annotations.{ROTATE_KEYS}"),
        sentence: format!("the annotation {ROTATE_KEYS} must be a time, such as 2030-01-31T12:00:00Z"),
    })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use k8s_openapi::ByteString;
    use serde_json::json;

    use super::*;

    const INTERVAL: SignedDuration = SignedDuration::from_hours(90 * 24);
    /// The longest that a server may be behind.
    const LAG: SignedDuration = SignedDuration::from_mins(5);
    /// The longest that `spec.session.ttl` may be.
    const LONGEST_SESSION: SignedDuration = SignedDuration::from_hours(1);

    fn start() -> Timestamp {
        "2030-01-01T00:00:00Z".parse().unwrap()
    }

    fn minutes(minutes: i64) -> SignedDuration {
        SignedDuration::from_mins(minutes)
    }

    fn first() -> Rotation {
        Rotation { keys: MacKeys::first([0; MAC_KEY]), added_at: Some(start()) }
    }

    fn after(rotation: Rotation, step: Step, now: Timestamp) -> Rotation {
        rotation.after(step, now, || Ok::<_, Infallible>([1; MAC_KEY])).unwrap().0
    }

    #[test]
    fn a_key_is_added_when_its_time_is_over_and_signs_five_minutes_later() {
        let due = start() + INTERVAL;
        assert_eq!(first().next([], INTERVAL, start()), (Step::Add, due));
        let added = after(first(), Step::Add, due);
        assert_eq!(added.keys.primary(), 0, "every server has to have it first");
        assert_eq!(added.next([], INTERVAL, due), (Step::Use, due + HANDING_OUT));
        let used = after(added, Step::Use, due + HANDING_OUT);
        assert_eq!(used.keys.primary(), 1);
        assert_eq!(used.next([], INTERVAL, due + HANDING_OUT), (Step::Add, due + INTERVAL));
    }

    #[test]
    fn who_asks_gets_keys_that_are_younger_than_that_moment_and_once() {
        let ask = start() + minutes(30);
        assert_eq!(first().next([ask], INTERVAL, start()), (Step::Add, ask));
        assert_eq!(first().next([start()], INTERVAL, start()), (Step::Add, start() + INTERVAL), "they are");
        let added = after(first(), Step::Add, ask);
        let again = ask + minutes(1);
        assert_eq!(added.next([again], INTERVAL, again), (Step::Use, ask + HANDING_OUT), "one at a time");
        let used = after(added, Step::Use, ask + HANDING_OUT);
        assert_eq!(used.next([ask], INTERVAL, again), (Step::Add, ask + INTERVAL));
        assert_eq!(used.next([ask, again], INTERVAL, again), (Step::Add, again));
    }

    fn secret(created: &str, annotations: serde_json::Value, keys: &MacKeys) -> Secret {
        let metadata = json!({ "creationTimestamp": created, "annotations": annotations });
        let data = keys.entries().into_iter().map(|(name, value)| (name, ByteString(value))).collect();
        Secret { data: Some(data), ..serde_json::from_value(json!({ "metadata": metadata })).unwrap() }
    }

    #[test]
    fn a_key_that_waits_for_nobody_knows_how_long_waits_anew() {
        let (now, created) = (start() + minutes(60), start().to_string());
        let mut keys = MacKeys::first([0; MAC_KEY]);
        let of = |annotations, keys: &MacKeys| {
            Rotation::of(&secret(&created, annotations, keys), now).unwrap().next([], INTERVAL, now)
        };
        assert_eq!(of(json!({}), &keys), (Step::Add, start() + INTERVAL));
        keys.add([1; MAC_KEY]);
        let noted = now - minutes(1);
        assert_eq!(of(json!({ KEYS_ADDED_AT: noted.to_string() }), &keys), (Step::Use, noted + HANDING_OUT));
        for lost in
            [json!({}), json!({ KEYS_ADDED_AT: "x" }), json!({ KEYS_ADDED_AT: "2099-01-01T00:00:00Z" })]
        {
            assert_eq!(of(lost, &keys), (Step::Mark, now));
        }
        let marked = after(Rotation { keys, added_at: None }, Step::Mark, now);
        assert_eq!(marked.next([], INTERVAL, now), (Step::Use, now + HANDING_OUT));
    }

    /// Servers that see the Secret as it was up to five minutes ago sign for each other, whoever asks when, and however
    /// late the operator comes: each opens what any other signs, from its first moment to the end of the longest session.
    #[test]
    fn no_server_sees_a_token_of_a_key_that_it_has_not_got() {
        let mut random = 1_u64;
        let mut chance = |one_in: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33).is_multiple_of(one_in)
        };
        let (lag, session) = (LAG.as_mins() as usize, LONGEST_SESSION.as_mins() as usize);
        let (mut rotation, mut asked) = (first(), Vec::new());
        let (mut states, mut rotations) = (Vec::new(), 0);
        for minute in 0..20_000_i64 {
            let now = start() + minutes(minute);
            // Mostly in a hurry: rotations follow one another as fast as they can, which is the hardest case.
            let eager = minute / 1_000 % 2 == 0;
            if chance(if eager { 1 } else { 40 }) {
                asked = vec![now];
            }
            // Twice, since one rotation may begin in the moment in which the one before ends.
            for _ in 0..if eager || !chance(10) { 2 } else { 0 } {
                let (step, at) = rotation.next(asked.iter().copied(), SignedDuration::from_hours(3), now);
                if at <= now {
                    rotation = after(rotation, step, now);
                    rotations += u32::from(step == Step::Use);
                }
            }
            states.push(rotation.keys.clone());
            let of_last = |count: usize| &states[states.len().saturating_sub(count + 1)..];
            let signs: Vec<u8> = of_last(session + lag).iter().map(MacKeys::primary).collect();
            for seen in of_last(lag) {
                let has: Vec<u8> = seen.iter().map(|(number, _)| number).collect();
                assert!(
                    signs.iter().all(|number| has.contains(number)),
                    "minute {minute}: {signs:?} {has:?}"
                );
            }
        }
        assert!(rotations > 1_000, "{rotations} rotations: the numbers went round");
    }
}
