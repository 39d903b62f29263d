//! When a write may be acknowledged. Pure.
//!
//! All k+m shards must be durable. A shard whose node is marked down may be skipped, and is then queued for repair, as
//! long as k+1 shards are durable (with no parity: all k). A shard that failed on a live node is not skipped: the write
//! fails, and the client retries.

use crate::placement::Profile;

/// The state of one shard of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardState {
    /// Still being written.
    Pending,
    /// On stable storage.
    Durable,
    /// Its node is up and could not store it.
    Failed,
    /// Its node is marked down.
    Down,
}

/// What to do about the write now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Wait for more shards.
    Wait,
    /// Acknowledge it, and queue the shards of this set for repair (bit i is shard i).
    Acknowledge {
        /// The shards that are missing.
        repair: u64,
    },
    /// Refuse it: it cannot be made durable enough now.
    Refuse,
}

/// The fewest durable shards with which a write may be acknowledged.
pub const fn floor(profile: Profile) -> usize {
    profile.k as usize + if profile.m == 0 { 0 } else { 1 }
}

/// Decides about a write from the states of its k+m shards.
///
/// # Panics
/// If there is not one state per shard.
pub fn decide(profile: Profile, shards: &[ShardState]) -> Decision {
    assert_eq!(shards.len(), profile.shards(), "one state per shard");
    let down = shards.iter().filter(|state| **state == ShardState::Down).count();
    if shards.contains(&ShardState::Failed) || shards.len() - down < floor(profile) {
        return Decision::Refuse;
    }
    if shards.contains(&ShardState::Pending) {
        return Decision::Wait;
    }
    let missing = shards.iter().enumerate().filter(|(_, state)| **state == ShardState::Down);
    Decision::Acknowledge { repair: missing.fold(0, |set, (shard, _)| set | 1 << shard) }
}

#[cfg(test)]
mod tests {
    use super::ShardState::{Down, Durable, Failed, Pending};
    use super::*;

    #[test]
    fn the_table_of_decisions() {
        let one = Profile { k: 1, m: 0 };
        let pair = Profile { k: 1, m: 1 };
        let six = Profile { k: 4, m: 2 };
        let healthy = Decision::Acknowledge { repair: 0 };
        let table: &[(Profile, &[ShardState], Decision)] = &[
            (one, &[Pending], Decision::Wait),
            (one, &[Durable], healthy),
            (one, &[Failed], Decision::Refuse),
            (one, &[Down], Decision::Refuse),
            (pair, &[Durable, Durable], healthy),
            (pair, &[Durable, Down], Decision::Refuse),
            (six, &[Durable, Durable, Durable, Durable, Durable, Pending], Decision::Wait),
            (six, &[Durable; 6], healthy),
            (
                six,
                &[Durable, Durable, Down, Durable, Durable, Durable],
                Decision::Acknowledge { repair: 0b100 },
            ),
            (six, &[Durable, Durable, Down, Durable, Durable, Pending], Decision::Wait),
            (six, &[Durable, Durable, Down, Durable, Down, Pending], Decision::Refuse),
            (six, &[Durable, Durable, Failed, Durable, Durable, Durable], Decision::Refuse),
        ];
        for (profile, shards, decision) in table {
            assert_eq!(decide(*profile, shards), *decision, "{profile:?} {shards:?}");
        }
    }
}
