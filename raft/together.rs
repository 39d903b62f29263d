//! Whether a node's log and its metadata store can go on together, as a table of cases. Pure.
//!
//! An entry is applied only once it is durable in the log, and the log is purged only up to what was persisted in the
//! store. The store survives a killed process whole; of what was not persisted a machine's crash takes a suffix. So a
//! crash leaves the store's mark no later than the log's end and no earlier than its purge. Anything else is two copies
//! of different times or nodes, and to go on would lose what was acknowledged, or bring back what is gone.
//!
//! |     | the log                            | the store                  | what it is                                             | what is done                                 |
//! |-----|------------------------------------|----------------------------|--------------------------------------------------------|----------------------------------------------|
//! | T1  | nothing                            | nothing                    | a new node, or one killed before it was founded        | found the group, unless the cores hold blobs |
//! | T2  | nothing                            | a mark                     | the log is gone                                        | refuse                                       |
//! | T3  | nothing                            | rows, no mark              | the log is gone                                        | refuse                                       |
//! | T4  | only the founding entry            | nothing                    | a crash while the group was founded                    | apply it, lead                               |
//! | T5  | from entry 0                       | nothing                    | a crash before anything was persisted                  | apply all of it                              |
//! | T6  | from entry 0                       | rows, no mark              | a replacement of all rows was cut short                | delete the rows, apply all of it             |
//! | T7  | a vote alone                       | rows, no mark              | the same, on a member new to its group                 | delete the rows, wait for the leader         |
//! | T8  | purged                             | nothing                    | the store is gone                                      | refuse                                       |
//! | T9  | purged                             | rows, no mark              | a replacement was cut short, its source is gone        | refuse                                       |
//! | T10 | purged beyond the mark             | a mark                     | an older copy of the store                             | refuse                                       |
//! | T11 | purged up to the mark              | a mark                     | a crash after a snapshot and its purge                 | apply the rest                               |
//! | T12 | reaching back beyond the mark      | a mark                     | a crash between a snapshot and its purge, or any other | apply the rest                               |
//! | T13 | ending at the mark                 | a mark                     | all was applied                                        | go on                                        |
//! | T14 | another entry at the mark          | a mark                     | log and store of two nodes or lives                    | refuse                                       |
//! | T15 | ending before the mark, one member | a mark                     | an older copy of the log                               | refuse                                       |
//! | T16 | ending before the mark, several    | a mark                     | a snapshot was installed, the log not yet cut          | go on from the snapshot                      |
//! | T17 | any                                | a mark that does not parse | damage                                                 | refuse                                       |
//!
//! What the log itself may look like is told in `wal/recovery.rs`.

use std::ops::ControlFlow;

use crate::applier::Mark;
use crate::kv::Reader;
use crate::types::LogId;
use crate::{Error, Result};

/// What the log holds.
#[derive(Clone, Debug, Default)]
pub struct LogFound {
    /// A vote was saved.
    pub voted: bool,
    /// The last entry that is gone by purge.
    pub purged: Option<LogId>,
    /// The last entry, purged or not.
    pub last: Option<LogId>,
    /// The entry at the index of the store's mark, purged or not.
    pub at_mark: Option<LogId>,
}

/// What the store holds.
#[derive(Clone, Debug, Default)]
pub struct StoreFound {
    /// Its mark, or an empty one.
    pub mark: Mark,
    /// It holds rows, but no mark.
    pub strays: bool,
}

impl StoreFound {
    /// Looks at a store.
    ///
    /// # Errors
    /// The store fails, or its mark does not parse.
    pub fn of(reader: &impl Reader) -> Result<StoreFound> {
        let mark = Mark::read(reader).map_err(|error| match error {
            Error::Corrupt { what, why } => {
                refused(format!("the {what} of the metadata store is damaged ({why})"))
            }
            other => other,
        })?;
        let mut strays = false;
        if mark.last.is_none() {
            reader.scan(&[0], &[0xff], &mut |_, _| {
                strays = true;
                Ok(ControlFlow::Break(()))
            })?;
        }
        Ok(StoreFound { mark, strays })
    }
}

/// How to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Nothing was ever here: the group may be founded.
    New,
    /// Delete all rows of the store first.
    Cleared,
    /// Apply what the log has beyond the mark.
    Apply,
}

fn refused(why: String) -> Error {
    Error::Refused(format!(
        "{why}: restore the whole data directory from one copy that was made while the node was stopped"
    ))
}

/// The table at the head of this file. `id` is this node's in the group.
///
/// # Errors
/// [`Error::Refused`], with what to do.
pub fn judge(log: &LogFound, store: &StoreFound, id: u64) -> Result<Start> {
    let log_is_gone = !log.voted && log.last.is_none();
    let Some(applied) = store.mark.last else {
        return match log.purged {
            Some(purged) => Err(refused(format!(
                "the metadata store is empty or half replaced, but the log begins after entry {}",
                purged.index
            ))),
            None if log_is_gone && store.strays => {
                Err(refused("the metadata store has rows, but the log is gone".to_owned()))
            }
            None if log_is_gone => Ok(Start::New),
            None if store.strays => Ok(Start::Cleared),
            None => Ok(Start::Apply),
        };
    };
    let at = applied.index;
    if log_is_gone {
        return Err(refused(format!("the metadata store ends at entry {at}, but the log is gone")));
    }
    if let Some(purged) = log.purged.filter(|purged| purged.index > at) {
        return Err(refused(format!(
            "the metadata store ends at entry {at}, but the log begins after {}",
            purged.index
        )));
    }
    let end = log.last.map(|last| last.index);
    if end < Some(at) {
        let alone = store.mark.membership.membership().voter_ids().eq([id]);
        return if alone {
            let end = end.map_or("nowhere".to_owned(), |end| format!("at {end}"));
            Err(refused(format!("the metadata store ends at entry {at}, but the log ends {end}")))
        } else {
            Ok(Start::Apply)
        };
    }
    if log.at_mark != Some(applied) {
        return Err(refused(format!("entry {at} of the metadata store and of the log are not the same")));
    }
    Ok(Start::Apply)
}

#[cfg(test)]
#[path = "together_tests.rs"]
mod tests;
