//! What a client draws by chance: how retries are spread, and the names of operations. A trait, so that a simulation
//! can be run again with the same draws.

/// Where chance comes from.
pub trait Chance: Send + Sync {
    /// A number from 0 to 1, so that clients that failed together do not come back together.
    fn fraction(&self) -> f64;

    /// An operation id that no other operation ever has: 36 characters, as a UUID is written.
    fn operation(&self) -> String;
}

/// The random source of this machine.
pub(crate) struct SystemChance;

impl Chance for SystemChance {
    fn fraction(&self) -> f64 {
        // Without a random source clients are merely less spread.
        getrandom::u32().map_or(0.5, |bits| f64::from(bits) / f64::from(u32::MAX))
    }

    fn operation(&self) -> String {
        uuid::Uuid::new_v4().to_string()
    }
}
