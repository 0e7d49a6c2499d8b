//! A plan made ready for questions: indexes and ids, computed once for each change of the plan.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use genie_ledger::{
    Generation, GrantId, Limit, LimitId, LimitSet, Order, Queueing, Settings, SettingsError, TooManyLimits,
};

use super::KeyHash;
use crate::api::{PlanFeature, PlanGrant, PlanStep, PlanTier, QueueOrder, SeatPlanSpec, Version};

/// Which ledger: namespace and product.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LedgerId {
    /// Namespace of the pool.
    pub namespace: Arc<str>,
    /// Product of the pool.
    pub product: Arc<str>,
}

impl LedgerId {
    /// What tokens carry in the ledger's place.
    pub fn hash(&self) -> [u8; 8] {
        short_hash("genie-lm ledger id v1", &self.to_string()).to_le_bytes()
    }
}

impl std::fmt::Display for LedgerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.product)
    }
}

/// One grant of a [`PlanView`].
#[derive(Debug)]
pub struct GrantView {
    /// What tokens carry.
    pub id: GrantId,
    /// As the plan says it.
    pub plan: PlanGrant,
    /// The limit that counts its sessions.
    pub own: LimitId,
    base: Vec<LimitId>,
    /// Features that a seat of its tier covers.
    covered: BTreeSet<String>,
}

/// What a session with a feature is counted by.
#[derive(Debug)]
struct FeatureLimits {
    own: LimitId,
    /// For sessions of all versions above one.
    above: Vec<(Version, LimitId)>,
}

/// A plan made ready for questions.
#[derive(Debug)]
pub struct PlanView {
    /// Which ledger.
    pub ledger: LedgerId,
    /// As it was compiled.
    pub plan: SeatPlanSpec,
    grants: Vec<GrantView>,
    by_key: HashMap<KeyHash, usize>,
    by_id: HashMap<GrantId, usize>,
    features: HashMap<String, FeatureLimits>,
    names: HashMap<LimitId, Arc<str>>,
    settings: Settings,
}

/// Why a plan cannot be served; compile refuses all of these, so they speak of a plan made by hand.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// The ledger refuses the numbers.
    #[error("the plan of {0} cannot be served: {1}")]
    Settings(LedgerId, SettingsError),
}

impl PlanView {
    /// Indexes a plan of namespace `namespace`.
    pub fn new(namespace: &str, plan: SeatPlanSpec) -> Result<Self, ViewError> {
        let ledger = LedgerId { namespace: namespace.into(), product: plan.product.as_str().into() };
        let limits = limits(&plan);
        let names = limits.iter().map(|limit| (limit.id, limit.name.clone())).collect();
        let settings = Settings::new(plan.outage_tolerance.get(), plan.ttl.get(), limits)
            .map_err(|error| ViewError::Settings(ledger.clone(), error))?
            .with_min_generation(Generation(plan.min_generation))
            .with_longest_horizon(
                plan.longest_outage_tolerance.map_or(Duration::ZERO, |longest| longest.get()),
            )
            .with_queueing(queueing(&plan))
            .with_time_kept(plan_ends(&plan))
            .with_accepting(!plan.suspended && !plan.draining && !plan.revoked);
        let grants: Vec<GrantView> =
            plan.grants.iter().map(|grant| GrantView::new(grant, &plan.tiers)).collect();
        let of_feature = |feature: &PlanFeature| (feature.name.to_string(), FeatureLimits::new(feature));
        let features = plan.features.iter().map(of_feature).collect();
        let by_id = grants.iter().enumerate().map(|(index, grant)| (grant.id, index)).collect();
        let by_key = grants
            .iter()
            .enumerate()
            .flat_map(|(index, grant)| grant.plan.keys.iter().map(move |key| (index, key)))
            .filter_map(|(index, key)| Some((KeyHash::from_hex(&key.sha256)?, index)))
            .collect();
        Ok(Self { ledger, plan, grants, by_key, by_id, features, names, settings })
    }

    /// The same plan, of a ledger whose generation is known to have been at least this.
    pub fn with_min_generation(mut self, generation: Generation) -> Self {
        let generation = generation.max(self.settings.min_generation());
        self.settings = self.settings.with_min_generation(generation);
        self
    }

    /// What the seat protocol needs to know of the plan.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// All grants, in the plan's order.
    pub fn grants(&self) -> &[GrantView] {
        &self.grants
    }

    /// The grant that a key stands for.
    pub fn grant_of_key(&self, key: KeyHash) -> Option<&GrantView> {
        self.by_key.get(&key).map(|&index| &self.grants[index])
    }

    /// The grant of a token.
    pub fn grant(&self, id: GrantId) -> Option<&GrantView> {
        self.by_id.get(&id).map(|&index| &self.grants[index])
    }

    /// The limits that a session of `grant` with these features touches, of an application of this version; None: it did
    /// not say, and counts as the newest.
    ///
    /// # Errors
    /// More than one session can touch.
    pub fn limits(
        &self,
        grant: &GrantView,
        features: &[String],
        version: Option<&Version>,
    ) -> Result<LimitSet, TooManyLimits> {
        let mut limits = grant.base.clone();
        for name in features.iter().filter(|name| !grant.covers(name)) {
            let Some(feature) = self.features.get(name) else {
                // The ledger refuses what the plan does not know.
                limits.push(limit_id(&feature_limit(name)));
                continue;
            };
            let above =
                feature.above.iter().filter(|(above, _)| version.is_none_or(|version| version > above));
            limits.push(feature.own);
            limits.extend(above.map(|(_, limit)| *limit));
        }
        LimitSet::new(limits)
    }

    /// The features among the limits of a session.
    pub fn features_of(&self, limits: &LimitSet) -> Vec<String> {
        let touched = |feature: &FeatureLimits| limits.iter().any(|limit| limit == feature.own);
        let names =
            self.features.iter().filter(|(_, feature)| touched(feature)).map(|(name, _)| name.clone());
        let mut features: Vec<String> = names.collect();
        features.sort_unstable();
        features
    }

    /// The name of a limit, as people read it.
    pub fn limit_name(&self, id: LimitId) -> Option<&str> {
        self.names.get(&id).map(AsRef::as_ref)
    }
}

impl GrantView {
    fn new(plan: &PlanGrant, tiers: &[PlanTier]) -> Self {
        let name = grant_limit(&plan.namespace, &plan.name);
        let own = limit_id(&name);
        let mut base = vec![limit_id("seats"), own];
        base.extend(plan.tier.iter().map(|tier| limit_id(&format!("tier/{tier}"))));
        let tier = tiers.iter().filter(|tier| Some(&tier.name) == plan.tier.as_ref());
        let covered = tier.flat_map(|tier| &tier.covers).map(ToString::to_string).collect();
        Self {
            id: GrantId(short_hash("genie-lm grant id v1", &name)),
            plan: plan.clone(),
            own,
            base,
            covered,
        }
    }

    /// Whether a session takes no seat of this feature, since its tier is a suite that has it.
    pub fn covers(&self, feature: &str) -> bool {
        self.covered.contains(feature)
    }

    /// Whether a key with this hash prefix still stands for the grant.
    pub fn has_key(&self, prefix: [u8; 8]) -> bool {
        self.plan
            .keys
            .iter()
            .filter_map(|key| KeyHash::from_hex(&key.sha256))
            .any(|key| key.prefix() == prefix)
    }
}

fn queueing(plan: &SeatPlanSpec) -> Queueing {
    let Some(queue) = &plan.queue else { return Queueing::default() };
    let order = match queue.order {
        QueueOrder::Fifo => Order::Fifo,
        QueueOrder::Priority => Order::Priority,
        QueueOrder::FairShare => Order::FairShare,
    };
    Queueing { max_length: queue.max_length, order }
}

impl FeatureLimits {
    fn new(feature: &PlanFeature) -> Self {
        let above =
            feature.steps.iter().map(|step| (step.above.clone(), limit_id(&step_limit(feature, step))));
        Self { own: limit_id(&feature_limit(feature.name.as_str())), above: above.collect() }
    }
}

fn feature_limit(name: &str) -> String {
    format!("feature/{name}")
}

/// Such as `feature/render>2025.1`. A session of a version above that is counted by this, too.
fn step_limit(feature: &PlanFeature, step: &PlanStep) -> String {
    format!("feature/{}>{}", feature.name, step.above.normal())
}

/// Whether anything of it ends, so that a clock set back would matter.
fn plan_ends(plan: &SeatPlanSpec) -> bool {
    let grants = plan.grants.iter().map(|grant| &grant.validity);
    let features = plan.features.iter().map(|feature| &feature.validity);
    grants.chain(features).chain([&plan.validity]).any(|validity| validity.not_after.is_some())
}

/// Name of the limit of a grant.
pub fn grant_limit(namespace: &str, name: &str) -> String {
    format!("grant/{namespace}/{name}")
}

/// All that a plan counts. A limit without a cap is counted all the same: so usage by grant, tier and feature
/// comes out of the one ledger.
fn limits(plan: &SeatPlanSpec) -> Vec<Limit> {
    let seats = std::iter::once(("seats".to_owned(), Some(plan.seats)));
    let grants = plan.grants.iter().map(|grant| (grant_limit(&grant.namespace, &grant.name), grant.max));
    let tiers = plan.tiers.iter().map(|tier| (format!("tier/{}", tier.name), tier.seats));
    let features = plan.features.iter().map(|feature| (feature_limit(feature.name.as_str()), feature.seats));
    let of_steps = |feature: &PlanFeature| {
        feature.steps.iter().map(|step| (step_limit(feature, step), Some(step.seats))).collect::<Vec<_>>()
    };
    seats
        .chain(grants)
        .chain(tiers)
        .chain(features)
        .chain(plan.features.iter().flat_map(of_steps))
        .map(|(name, cap)| Limit { id: limit_id(&name), name: name.into(), cap })
        .collect()
}

fn limit_id(name: &str) -> LimitId {
    LimitId(short_hash("genie-lm limit id v1", name))
}

/// 64 bits of BLAKE3: tokens of one ledger speak of a few thousand names at the most, so two of them meet with a
/// chance below one in 10^12, and `Settings` refuses the plan where they do.
fn short_hash(context: &str, text: &str) -> u64 {
    let mut bytes = [0; 8];
    blake3::Hasher::new_derive_key(context).update(text.as_bytes()).finalize_xof().fill(&mut bytes);
    u64::from_le_bytes(bytes)
}
