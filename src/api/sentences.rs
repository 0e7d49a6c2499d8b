//! What a refused object is told: the CEL rules of the CRDs and the same checks in `compile` say the same sentence.

/// The name of a LicensePool.
pub const POOL_NAME: &str = "a LicensePool's name must start with a letter, hold only a-z, 0-9 and - (not at the end), and have at most 40 characters: its Service is named after it";
/// The name of a LicenseGrant.
pub const GRANT_NAME: &str =
    "a LicenseGrant's name must have at most 63 characters: its Secret is named after it";
/// Features of tiers.
pub const TIER_FEATURES: &str = "every feature of a tier must be listed in spec.features";
/// Seats of suites.
pub const SUITE_SEATS: &str =
    "a tier that is a suite needs seats: sessions take them in place of the seats of its features";
/// Versions of features.
pub const VERSION: &str =
    "a feature's version must be one to four numbers with dots between, such as \"2026.1\"";
/// Seats of a pool.
pub const SEATS_NEEDED: &str = "spec.seats must be given where spec.licenses is empty";
/// The product of a pool.
pub const PRODUCT_IMMUTABLE: &str = "spec.product cannot be changed: create another LicensePool";
/// The group of a pool.
pub const GROUP_IMMUTABLE: &str = "server.group cannot be changed: create another LicensePool";
/// Time to live of sessions.
pub const TTL: &str = "session.ttl must be between 10s and 1h, such as 60s";
/// The longest wait.
pub const MAX_WAIT: &str = "queue.maxWait must be between 1s and 168h, such as 1h";
/// The horizon.
pub const OUTAGE_TOLERANCE: &str = "availability.outageTolerance must be between 15s and 24h, such as 10m";
/// The selector of namespaces.
pub const SELECTOR: &str = "allowedNamespaces.selector goes with from: Selector, and only with it";
/// The drain deadline.
pub const DRAIN_DEADLINE: &str = "deletion.drainDeadline must be at most 168h";
/// The order of begin and end.
pub const VALIDITY_ORDER: &str = "validity.notBefore must be earlier than validity.notAfter";
/// The order of begin and end of a feature.
pub const FEATURE_ORDER: &str = "notBefore of a feature must be earlier than its notAfter";
/// The grace period.
pub const GRACE_PERIOD: &str = "validity.gracePeriod must be at most 8760h";
/// The times of warnings.
pub const EXPIRY_WARNINGS: &str =
    "each of validity.expiryWarnings must be above 0s and at most 8760h, such as 720h";
/// The grace period of a grant.
pub const GRANT_GRACE_PERIOD: &str = "gracePeriod belongs to the LicensePool's validity";
/// Moments.
pub const TIME: &str = "a time must lie between the years 1 and 9999: leave it out for no end";
