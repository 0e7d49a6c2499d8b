//! What happens next, wherever more than one thing can: a script of choices, tried in all ways.

/// The choices of one step. Beyond the script, the first of each is taken.
#[derive(Default)]
pub struct Choices {
    script: Vec<u8>,
    widths: Vec<u8>,
}

impl Choices {
    /// Follows a script that was taken before.
    pub fn follow(script: &[u8]) -> Self {
        Self { script: script.to_vec(), widths: Vec::new() }
    }

    /// One of `n` things.
    pub fn pick(&mut self, n: usize) -> usize {
        let at = self.widths.len();
        if at == self.script.len() {
            self.script.push(0);
        }
        self.widths.push(u8::try_from(n).expect("few things can happen next"));
        usize::from(self.script[at])
    }

    /// One of these.
    pub fn of<T: Copy>(&mut self, these: &[T]) -> T {
        these[self.pick(these.len())]
    }

    /// What was chosen.
    pub fn script(&self) -> &[u8] {
        &self.script
    }

    /// The next script that was not tried, if any.
    pub fn next(mut self) -> Option<Self> {
        while let (Some(choice), Some(width)) = (self.script.pop(), self.widths.pop()) {
            if choice + 1 < width {
                self.script.push(choice + 1);
                self.widths.clear();
                return Some(self);
            }
        }
        None
    }
}
