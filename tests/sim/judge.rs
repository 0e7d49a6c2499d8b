//! Judges a world by what its clients believed: at no moment did they hold more units of a limit than were in force
//! (R10: its cap, or a promise above a lowered one).

use super::world::True;

/// The limits that are judged, as the ledger names them.
pub(crate) const LIMITS: [&str; 3] = ["seats", "grant/default/b", "feature/render"];
/// Units of each.
pub(crate) type PerLimit<T> = [T; LIMITS.len()];

/// One client's belief to hold `count` units of those limits.
pub(crate) struct Belief {
    pub(crate) client: usize,
    pub(crate) from: True,
    pub(crate) to: True,
    pub(crate) count: u32,
    pub(crate) limits: PerLimit<bool>,
}

/// What happens at one moment, in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Edge {
    Ends(u32),
    Allowed(u32),
    Begins(u32),
}

/// See the module.
#[derive(Default)]
pub(crate) struct Judge {
    /// What may be out from each of these moments on.
    allowed: Vec<(True, PerLimit<u32>)>,
    pub(crate) beliefs: Vec<Belief>,
    /// Seats that were lost though their client lived and did not give them back.
    pub(crate) lost: Vec<String>,
}

/// What a history came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) ownerships: u64,
    pub(crate) sessions: u64,
    /// Moments at which all that was allowed was held.
    pub(crate) full: u64,
    pub(crate) lost: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.ownerships += other.ownerships;
        self.sessions += other.sessions;
        self.full += other.full;
        self.lost += other.lost;
    }
}

impl Judge {
    /// From now on no more may be out than the caps, and of what is out above them no more than is promised.
    pub(crate) fn allow(&mut self, now: True, caps: PerLimit<u32>, promised: PerLimit<Option<u32>>) {
        let before = self.allowed.last().map_or([0; LIMITS.len()], |(_, allowed)| *allowed);
        let mut allowed = caps;
        for i in 0..LIMITS.len() {
            allowed[i] = caps[i].max(before[i].min(promised[i].unwrap_or(u32::MAX)));
        }
        if allowed != before || self.allowed.is_empty() {
            self.allowed.push((now, allowed));
        }
    }

    /// A client holds seats from now until `to`, by its own clock; gives the belief's place.
    pub(crate) fn begin(&mut self, belief: Belief) -> usize {
        self.beliefs.push(belief);
        self.beliefs.len() - 1
    }

    /// What was found: a sentence on the first moment at which too much was held, or the tally.
    pub(crate) fn verdict(&self) -> Result<Tally, String> {
        let (sessions, lost) = (self.beliefs.len() as u64, self.lost.len() as u64);
        let mut tally = Tally { sessions, lost, ..Tally::default() };
        for limit in 0..LIMITS.len() {
            tally.full += self.sweep(limit)?;
        }
        Ok(tally)
    }

    fn sweep(&self, limit: usize) -> Result<u64, String> {
        let mut edges: Vec<(True, Edge)> = self
            .beliefs
            .iter()
            .filter(|belief| belief.limits[limit] && belief.from < belief.to)
            .flat_map(|b| [(b.from, Edge::Begins(b.count)), (b.to, Edge::Ends(b.count))])
            .chain(self.allowed.iter().map(|(at, allowed)| (*at, Edge::Allowed(allowed[limit]))))
            .collect();
        edges.sort_unstable();
        let (mut held, mut allowed, mut full) = (0, 0, 0);
        for (at, edge) in edges {
            match edge {
                Edge::Ends(count) => held -= count,
                Edge::Allowed(units) => allowed = units,
                Edge::Begins(count) => held += count,
            }
            if held > allowed {
                return Err(self.too_much(at, limit, held, allowed));
            }
            full += u64::from(held == allowed && matches!(edge, Edge::Begins(_)));
        }
        Ok(full)
    }

    fn too_much(&self, at: True, limit: usize, held: u32, allowed: u32) -> String {
        let holding = self.beliefs.iter().filter(|b| b.limits[limit] && b.from <= at && at < b.to);
        let holding = holding.map(|b| {
            let (from, to) = (b.from.as_secs_f64(), b.to.as_secs_f64());
            format!("\n  client {}: {} from {from:.3} to {to:.3}", b.client, b.count)
        });
        format!(
            "at {:.3} clients hold {held} units of {}, {allowed} are allowed:{}",
            at.as_secs_f64(),
            LIMITS[limit],
            holding.collect::<String>()
        )
    }
}
