//! Bounds the messages that a member has ordered at once.
//!
//! If a command's messages are not taken in, the members log, replicate and check it for nothing, and it delays later commands. The window decides nothing
//! that is replicated.

use quorate_protocol::evidence::SLICE_MESSAGES;

/// How many messages of a sender one command brings: about as many as the last one took in, as there is no telling what messages cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    most: usize,
}

impl Default for Window {
    fn default() -> Self {
        Window { most: SLICE_MESSAGES }
    }
}

impl Window {
    /// Returns how many messages the next command brings at most.
    pub fn most(&self) -> usize {
        self.most
    }

    /// Notes what became of a command that brought so many: how many of them were taken in.
    pub fn note(&mut self, offered: u64, taken: u64) {
        let taken = usize::try_from(taken).unwrap_or(usize::MAX);
        self.most = match offered {
            0 => self.most,
            // It may be that more would have been taken in.
            offered if taken as u64 >= offered => self.most.max(taken.saturating_mul(2)),
            _ => taken.saturating_add(1),
        };
        self.most = self.most.clamp(1, SLICE_MESSAGES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_brings_about_what_the_last_one_took_in() {
        let mut window = Window::default();
        let cases =
            [(4_096, 4_096, 4_096), (4_096, 3, 4), (4, 4, 8), (3, 3, 8), (8, 7, 8), (8, 0, 1), (0, 0, 1), (1, 1, 2)];
        for (offered, taken, most) in cases {
            window.note(offered, taken);
            assert_eq!(window.most(), most, "{taken} of {offered}");
        }
    }
}
