//! The search: every state that a world can reach within its bounds, each looked at once.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::choices::Choices;
use super::config::Config;
use super::world::World;

/// How the states are gone through.
#[derive(Clone, Copy, PartialEq)]
pub enum Order {
    /// Shortest traces; remembers the whole edge.
    Breadth,
    /// Little memory.
    Depth,
}

/// What a search saw.
pub struct Report {
    pub states: usize,
    pub depth: usize,
    pub took: Duration,
    /// Whether every state within the bounds was looked at.
    pub exhausted: bool,
    pub found: Option<Violation>,
}

/// A broken promise, and how it came to it.
pub struct Violation {
    pub why: String,
    pub trace: Vec<String>,
}

/// How a state was reached.
struct Path {
    script: Box<[u8]>,
    before: Option<Arc<Path>>,
    depth: usize,
}

/// Looks at the states of `config`, at most `most` of them.
pub fn search(config: &Arc<Config>, order: Order, most: usize) -> Report {
    let began = Instant::now();
    let mut seen: HashSet<u128, BuildHasherDefault<AsItIs>> = HashSet::default();
    let first = World::new(config);
    seen.insert(fingerprint(&first));
    let mut edge: VecDeque<(World, Option<Arc<Path>>)> = VecDeque::from([(first, None)]);
    let (mut depth, mut exhausted) = (0, true);
    while let Some((world, path)) = if order == Order::Depth { edge.pop_back() } else { edge.pop_front() } {
        let mut next = Some(Choices::default());
        while let Some(mut choices) = next {
            let mut after = world.clone();
            after.step(&mut choices);
            if seen.insert(fingerprint(&after)) {
                let before = path.clone();
                let deep = before.as_ref().map_or(0, |p| p.depth) + 1;
                depth = depth.max(deep);
                let path = Arc::new(Path { script: choices.script().into(), before, depth: deep });
                if let Some(why) = after.broken.take() {
                    let found = Some(Violation { why, trace: replay(config, &path) });
                    let (states, took) = (seen.len(), began.elapsed());
                    return Report { states, depth: deep, took, exhausted: false, found };
                }
                edge.push_back((after, Some(path)));
            }
            next = choices.next();
        }
        if seen.len() >= most {
            exhausted = false;
            break;
        }
    }
    Report { states: seen.len(), depth, took: began.elapsed(), exhausted, found: None }
}

/// The path in words.
fn replay(config: &Arc<Config>, path: &Arc<Path>) -> Vec<String> {
    let mut steps = Vec::new();
    let mut at = Some(path);
    while let Some(path) = at {
        steps.push(&path.script);
        at = path.before.as_ref();
    }
    let mut world = World::new(config);
    world.notes = Some(Vec::new());
    for script in steps.into_iter().rev() {
        world.step(&mut Choices::follow(script));
    }
    world.notes.unwrap_or_default()
}

fn fingerprint(world: &World) -> u128 {
    let mut hasher = Mixer { a: 0x9e37_79b9_7f4a_7c15, b: 0xd1b5_4a32_d192_ed03 };
    world.hash(&mut hasher);
    u128::from(hasher.a) << 64 | u128::from(hasher.finish())
}

/// 128 bits by folded multiplication.
struct Mixer {
    a: u64,
    b: u64,
}

impl Mixer {
    fn mix(&mut self, x: u64) {
        let fold = |x: u64, by: u64| {
            let wide = u128::from(x) * u128::from(by);
            (wide >> 64) as u64 ^ wide as u64
        };
        self.a = fold(self.a ^ x, 0xa076_1d64_78bd_642f).wrapping_add(self.b);
        self.b = fold(self.b.rotate_left(29) ^ x, 0xe703_7ed1_a0b4_28db) ^ self.a.rotate_left(17);
    }
}

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.b
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word) ^ (chunk.len() as u64) << 56);
        }
    }

    fn write_u8(&mut self, x: u8) {
        self.mix(x.into());
    }

    fn write_u32(&mut self, x: u32) {
        self.mix(x.into());
    }

    fn write_u64(&mut self, x: u64) {
        self.mix(x);
    }

    fn write_usize(&mut self, x: usize) {
        self.mix(x as u64);
    }

    fn write_isize(&mut self, x: isize) {
        self.mix(x as u64);
    }
}

/// A fingerprint needs no more hashing.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u128(&mut self, x: u128) {
        self.0 = x as u64;
    }
}
