//! Step 2 of a grant: pure. What its pool said, and its keys → accepted or not, and may it be used now.

use genie_client::ActivationKey;
use jiff::Timestamp;
use kube::ResourceExt;

use super::{binding, observe::Observed};
use crate::{
    api::{PlanGrant, SeatPlanSpec},
    compile::{self, AcceptedGrant, GrantReason, ObjectName, Reasons},
    license::{Asked, Judgment, Nearing, PlanView, Use},
    operator::names,
    pki::PkiError,
};

/// What follows from what was observed.
pub enum Verdict {
    /// Its pool is there and has not been looked at, or the CA is not there; either comes with an event.
    Waiting,
    /// Not accepted.
    Refused(Reasons<GrantReason>),
    /// Accepted.
    Accepted(Box<Validated>),
}

/// A grant that can be built.
pub struct Validated {
    /// What compile says.
    pub accepted: AcceptedGrant,
    /// The key in its Secret, or to be put there; None: one is to be made.
    pub key: Option<ActivationKey>,
    /// DNS name of the pool's Service.
    pub host: String,
    /// The pool's product.
    pub product: String,
    /// The CA's certificate.
    pub ca: String,
    /// May it be used now? None: the servers' plan has it not yet, or not with its key.
    pub judgment: Option<Judgment>,
    /// What is to be told of its own end.
    pub nearing: Option<Nearing>,
    /// The next moment at which any of that changes by time alone.
    pub next: Option<Timestamp>,
    /// Seats held.
    pub in_use: u32,
}

/// See the module.
pub fn validate(observed: &Observed, cluster_domain: &str) -> Result<Verdict, PkiError> {
    let (name, pool) = (ObjectName::of(&*observed.grant), ObjectName::of_pool_of(&observed.grant));
    if observed.pool.is_none() {
        return Ok(Verdict::Refused(GrantReason::PoolNotFound(pool).into()));
    }
    let Some(view) = &observed.view else { return Ok(Verdict::Waiting) };
    // The pool has not looked at this grant; it is about to, for the same event.
    let Some(said) = view.grants.get(&name) else { return Ok(Verdict::Waiting) };
    let accepted = match &said.outcome {
        Ok(accepted) => accepted.clone(),
        Err(reasons) => return Ok(Verdict::Refused(reasons.clone())),
    };
    let key = match &observed.brought {
        Some(brought) => brought.clone().map(Some),
        None => observed
            .binding
            .as_deref()
            .and_then(|secret| binding::key_of(&observed.grant, secret))
            .transpose(),
    };
    let key = match key {
        Ok(key) => key,
        Err(reason) => return Ok(Verdict::Refused(reason.into())),
    };
    let (Some(plan), Some(ca)) = (&view.plan, &observed.ca) else { return Ok(Verdict::Waiting) };
    let planned = said.planned.as_ref().filter(|planned| has_key(planned, key.as_ref()));
    let nearing =
        planned.and_then(|planned| Nearing::of_grant(&planned.validity, &plan.validity, observed.now));
    let single = planned.map(|planned| SeatPlanSpec { grants: vec![planned.clone()], ..(**plan).clone() });
    Ok(Verdict::Accepted(Box::new(Validated {
        accepted,
        key,
        host: names::host(&pool.name, &pool.namespace, cluster_domain),
        product: plan.product.clone(),
        nearing,
        ca: crate::operator::ca::certificate(ca)?,
        next: single.as_ref().and_then(|plan| compile::next_expiry(plan, observed.now)),
        judgment: single.and_then(|plan| judge(&pool.namespace, plan, observed.now)),
        in_use: said.in_use,
    })))
}

fn has_key(planned: &PlanGrant, key: Option<&ActivationKey>) -> bool {
    key.is_some_and(|key| planned.keys.contains(&compile::hash(key)))
}

/// What a server would say to the holder of the key.
fn judge(namespace: &str, plan: SeatPlanSpec, now: Timestamp) -> Option<Judgment> {
    let view = PlanView::new(namespace, plan).ok()?;
    Some(view.judge(view.grants().first()?, Asked::default(), now, Use::Begin))
}

/// Name of the grant's Secret.
pub fn binding_name(observed: &Observed) -> String {
    names::binding(&observed.grant.name_any())
}
