//! May a grant be used now, and with which features? Pure: a plan, a grant, a time.
//!
//! The order of the checks is the order of the reasons people can do something about: the pool, the grant, the
//! features. Seats are the ledger's to judge, afterward.

use genie_proto::v1::{Code, Verdict};
use jiff::{SignedDuration, Timestamp};

use super::{GrantView, Nearing, PlanView};
use crate::api::{PlanFeature, Validity, Version};

/// What the caller wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Begin: suspension counts, and the asked features are judged.
    Begin,
    /// Go on with a seat that it has: only what ends by time or by revocation counts.
    GoOn,
}

/// What the caller asks for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    /// Empty: all that the grant enables.
    pub features: &'a [String],
    /// Of the application; None: it did not say, and counts as the newest.
    pub version: Option<&'a Version>,
}

/// The outcome of a judgment.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgment {
    /// In one word.
    pub verdict: Verdict,
    /// Why.
    pub code: Code,
    /// A sentence for a person.
    pub message: String,
    /// The features that count: those asked for, or all that the grant enables now.
    pub features: Vec<String>,
    /// When the grant ends.
    pub expires: Option<Timestamp>,
    /// What ends soon, or has ended and still works; a sentence each, the same until there is more to say.
    pub warnings: Vec<String>,
}

impl Judgment {
    /// The caller may run.
    pub fn is_authorized(&self) -> bool {
        self.verdict == Verdict::Authorized
    }

    /// Whole days left, rounded down.
    pub fn days_left(&self, now: Timestamp) -> Option<u32> {
        let seconds = self.expires?.as_second().saturating_sub(now.as_second());
        Some(u32::try_from(seconds.max(0) / 86_400).unwrap_or(u32::MAX))
    }
}

/// How far a clock may be behind the latest time that a ledger has seen. FlexNet bears with a day too: no mix-up of time
/// zones denies anybody, and what a smaller setback gains is a day at the end of a license.
const BEHIND: SignedDuration = SignedDuration::from_hours(24);

/// Whether a clock that shows `now` was set back, where `latest` was seen before.
fn is_set_back(now: Timestamp, latest: Timestamp) -> bool {
    latest.duration_since(now) > BEHIND
}

struct Refusal(Verdict, Code, String);

impl PlanView {
    /// Judges `grant` at `now` for what is `asked`.
    pub fn judge(&self, grant: &GrantView, asked: Asked<'_>, now: Timestamp, purpose: Use) -> Judgment {
        let expires = earliest(&[end(&self.plan.validity), end(&grant.plan.validity)]);
        let warnings = self.warnings(grant, now);
        match self.try_judge(grant, asked, now, purpose) {
            Ok((code, features)) => Judgment {
                verdict: Verdict::Authorized,
                code,
                message: self.welcome(code, expires),
                features,
                expires,
                warnings,
            },
            Err(Refusal(verdict, code, message)) => {
                Judgment { verdict, code, message, features: Vec::new(), expires, warnings }
            }
        }
    }

    /// What is to be told of the ends of the pool and of `grant` at `now`.
    fn warnings(&self, grant: &GrantView, now: Timestamp) -> Vec<String> {
        let (pool, grant) = (&self.plan.validity, &grant.plan.validity);
        let of_pool = self.pool_warning(now);
        let of_grant = Nearing::of_grant(grant, pool, now);
        let of_grant = of_grant.map(|nearing| format!("This grant {nearing}: ask for a renewal."));
        of_pool.into_iter().chain(of_grant).collect()
    }

    /// What is to be told of the end of the pool at `now`.
    pub fn pool_warning(&self, now: Timestamp) -> Option<String> {
        let nearing = Nearing::of_pool(&self.plan.validity, now)?;
        Some(format!("The license of {} {nearing}: renew it.", self.plan.product))
    }

    /// What becomes of `judgment` where the ledger has seen `latest`: by a clock that was set back nothing new begins that
    /// ends by it.
    pub fn hold_against(
        &self,
        judgment: Judgment,
        grant: &GrantView,
        now: Timestamp,
        latest: Timestamp,
    ) -> Judgment {
        let named = |feature: &&PlanFeature| judgment.features.contains(&feature.name.0);
        let features = self.plan.features.iter().filter(named).map(|feature| &feature.validity);
        let mut validities = features.chain([&self.plan.validity, &grant.plan.validity]);
        let ends = validities.any(|validity| validity.not_after.is_some());
        if !(judgment.is_authorized() && ends && is_set_back(now, latest)) {
            return judgment;
        }
        let message = format!(
            "The clock of the license server shows {now}, and it was {latest} before: no new seats until it is right. \
             Tell who runs the server."
        );
        Judgment {
            verdict: Verdict::Denied,
            code: Code::ClockSetBack,
            message,
            features: Vec::new(),
            ..judgment
        }
    }

    fn try_judge(
        &self,
        grant: &GrantView,
        asked: Asked<'_>,
        now: Timestamp,
        purpose: Use,
    ) -> Result<(Code, Vec<String>), Refusal> {
        let product = &self.plan.product;
        if self.plan.revoked {
            return Err(denied(
                Code::Revoked,
                format!(
                    "The pool of {product} gives no seats any more: it was deleted, or no license of it counts. Ask who runs it."
                ),
            ));
        }
        let code = in_time(&self.plan.validity, now, &format!("The license of {product}"))?;
        in_time(&grant.plan.validity, now, "This grant")?;
        if purpose == Use::GoOn {
            return Ok((code, Vec::new()));
        }
        if self.plan.draining || self.plan.suspended {
            return Err(denied(
                Code::Suspended,
                format!("The pool of {product} grants no new seats for now; ask who runs it."),
            ));
        }
        if grant.plan.suspended {
            return Err(denied(Code::Suspended, "This grant is suspended; ask who runs the pool.".into()));
        }
        Ok((code, self.features(grant, asked, now)?))
    }

    fn features(&self, grant: &GrantView, asked: Asked<'_>, now: Timestamp) -> Result<Vec<String>, Refusal> {
        let refusal = |name: &str| {
            let feature = self.plan.features.iter().find(|feature| feature.name.as_str() == name)?;
            let in_time = in_time(&feature.validity, now, &format!("Feature {name}"));
            in_time.err().or_else(|| covers(feature, asked.version).err())
        };
        if asked.features.is_empty() {
            let names = grant.plan.features.iter().map(|name| name.as_str().to_owned());
            return Ok(names.filter(|name| refusal(name).is_none()).collect());
        }
        for name in asked.features {
            if !grant.plan.features.iter().any(|known| known.as_str() == name) {
                return Err(denied(
                    Code::FeatureNotLicensed,
                    format!(
                        "Feature {name} is not part of this grant; ask for a grant or a tier that has it."
                    ),
                ));
            }
            if let Some(refusal) = refusal(name) {
                return Err(refusal);
            }
        }
        let mut features = asked.features.to_vec();
        features.sort_unstable();
        features.dedup();
        Ok(features)
    }

    /// The features that a checkout of `grant` takes when it names none: those without seats of their own, so that a
    /// client never takes a scarce one without asking for it, and those that the seat of its tier covers.
    pub fn unlimited(&self, grant: &GrantView, features: &[String]) -> Vec<String> {
        let scarce = |feature: &PlanFeature| feature.seats.is_some() || !feature.steps.is_empty();
        let is_scarce = |name: &str| self.plan.features.iter().any(|f| f.name.as_str() == name && scarce(f));
        features.iter().filter(|name| grant.covers(name) || !is_scarce(name)).cloned().collect()
    }

    fn welcome(&self, code: Code, expires: Option<Timestamp>) -> String {
        let product = &self.plan.product;
        match (code, expires, last(&self.plan.validity)) {
            (Code::Grace, Some(end), Some(last)) => {
                format!(
                    "{product} is licensed, but its license ended on {end}: renew it before the grace period ends on {last}."
                )
            }
            (_, Some(end), _) => format!("{product} is licensed until {end}."),
            (_, None, _) => format!("{product} is licensed."),
        }
    }
}

fn in_time(validity: &Validity, now: Timestamp, what: &str) -> Result<Code, Refusal> {
    if let Some(begin) = validity.not_before.as_ref().map(|time| time.0).filter(|&begin| now < begin) {
        return Err(denied(
            Code::NotYetValid,
            format!("{what} begins on {begin}; wait until then, or ask for an earlier begin."),
        ));
    }
    let Some(end) = end(validity).filter(|&end| now >= end) else { return Ok(Code::Ok) };
    if last(validity).is_some_and(|last| now < last) {
        return Ok(Code::Grace);
    }
    Err(Refusal(Verdict::Expired, Code::LicenseExpired, format!("{what} ended on {end}; ask for a renewal.")))
}

/// Whether seats of `feature` are good for `version`; without one, for the newest.
fn covers(feature: &PlanFeature, version: Option<&Version>) -> Result<(), Refusal> {
    let Some(highest) = &feature.version else { return Ok(()) };
    let name = &feature.name;
    let sentence = match version {
        Some(version) if version <= highest => return Ok(()),
        Some(version) => format!(
            "Feature {name} is licensed up to version {highest}, and this is version {version}; use a version that is covered, or ask for a license of this one."
        ),
        None => format!(
            "Feature {name} is licensed up to version {highest}, and the application does not say its version; have it say it, or ask for a license of all versions."
        ),
    };
    Err(denied(Code::VersionNotCovered, sentence))
}

fn denied(code: Code, message: String) -> Refusal {
    Refusal(Verdict::Denied, code, message)
}

/// The end of the grace period.
fn last(validity: &Validity) -> Option<Timestamp> {
    let grace = validity.grace_period.map_or(std::time::Duration::ZERO, |grace| grace.get());
    end(validity)?.checked_add(grace).ok()
}

fn end(validity: &Validity) -> Option<Timestamp> {
    validity.not_after.as_ref().map(|time| time.0)
}

fn earliest(ends: &[Option<Timestamp>]) -> Option<Timestamp> {
    ends.iter().flatten().min().copied()
}
