//! The time at which a key was last modified never goes back, whatever the clocks do, unless the key was deleted in
//! between.

use crate::history::{Action, Entry, History, Sight};

/// Checks what reads showed of every key.
///
/// # Errors
/// A key whose time went back.
pub fn check(history: &History) -> Result<(), String> {
    for (key, sights) in &history.sights {
        let entries = history.keys.get(key).map_or(&[][..], Vec::as_slice);
        for earlier in sights {
            let later = |later: &&Sight| later.invoked > earlier.returned;
            let went_back = |later: &&Sight| later.modified_s < earlier.modified_s;
            let mut found = sights.iter().filter(later).filter(went_back);
            if let Some(later) = found.find(|later| !deleted_between(entries, earlier, later)) {
                return Err(format!("the time of key {key:?} went back: {earlier:?}, then {later:?}"));
            }
        }
    }
    Ok(())
}

/// Whether a delete may have taken effect after the earlier read did and before the later one did.
fn deleted_between(entries: &[Entry], earlier: &Sight, later: &Sight) -> bool {
    entries.iter().any(|entry| {
        entry.action == Action::Delete
            && entry.invoked < later.returned
            && entry.returned.is_none_or(|returned| returned > earlier.invoked)
    })
}
