//! Decides whether a node's log and its metadata store can go on together, as a table of cases. Pure.
//!
//! An entry is applied only once it is durable in the log, and the log is purged only up to what was persisted in
//! the store. A killed process leaves the store whole; a crash of the machine loses a suffix of what was not
//! persisted. So after a crash, the store's mark is no later than the end of the log and no earlier than its purge.
//! Anything else is two copies of different times or nodes, and going on would lose acknowledged writes or bring
//! back deleted data.
//!
//! |     | the log                                 | the store                  | meaning                                                | action                                       |
//! |-----|-----------------------------------------|----------------------------|--------------------------------------------------------|----------------------------------------------|
//! | T1  | nothing                                 | nothing                    | a new node, or one killed before it founded its group  | found the group, unless the cores hold blobs |
//! | T2  | nothing                                 | a mark                     | the log is gone                                        | refuse                                       |
//! | T3  | nothing                                 | rows, no mark              | the log is gone                                        | refuse                                       |
//! | T4  | only the founding entry                 | nothing                    | a crash while the group was founded                    | apply it, lead                               |
//! | T5  | from entry 0                            | nothing                    | a crash before anything was persisted                  | apply all of it                              |
//! | T6  | from entry 0                            | rows, no mark              | a replacement of all rows was interrupted              | delete the rows, apply all of the log        |
//! | T7  | only a vote                             | rows, no mark              | the same, on a member new to its group                 | delete the rows, wait for the leader         |
//! | T8  | purged                                  | nothing                    | the store is gone                                      | refuse                                       |
//! | T9  | purged                                  | rows, no mark              | a replacement was interrupted, its source is gone      | refuse                                       |
//! | T10 | purged beyond the mark                  | a mark                     | an older copy of the store                             | refuse                                       |
//! | T11 | purged up to the mark                   | a mark                     | a crash after a snapshot and its purge                 | apply the rest                               |
//! | T12 | reaching back beyond the mark           | a mark                     | a crash between a snapshot and its purge, or any other | apply the rest                               |
//! | T13 | ending at the mark                      | a mark                     | everything was applied                                 | go on                                        |
//! | T14 | another entry at the mark               | a mark                     | log and store of two nodes, or of two lives of one     | refuse                                       |
//! | T15 | ending before the mark, one member      | a mark                     | an older copy of the log                               | refuse                                       |
//! | T16 | ending before the mark, several members | a mark                     | a snapshot was installed, the log not yet truncated    | go on from the snapshot                      |
//! | T17 | any                                     | a mark that does not parse | damage                                                 | refuse                                       |
//!
//! The table for the log itself is in `wal/recovery.rs`.

use std::ops::ControlFlow;

use crate::applier::Mark;
use crate::kv::Reader;
use crate::types::LogId;
use crate::{Error, Result};

/// What the log holds.
#[derive(Clone, Debug, Default)]
pub struct LogContents {
    /// A vote was saved.
    pub voted: bool,
    /// The last purged entry.
    pub purged: Option<LogId>,
    /// The last entry, purged or not.
    pub last: Option<LogId>,
    /// The entry at the index of the store's mark, purged or not.
    pub at_mark: Option<LogId>,
}

/// What the store holds.
#[derive(Clone, Debug, Default)]
pub struct StoreContents {
    /// Its mark, or an empty one.
    pub mark: Mark,
    /// It holds rows but no mark.
    pub strays: bool,
}

impl StoreContents {
    /// Looks at what a store holds.
    ///
    /// # Errors
    /// The store fails, or its mark does not parse.
    pub fn of(reader: &impl Reader) -> Result<StoreContents> {
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
        Ok(StoreContents { mark, strays })
    }
}

/// What to do at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// There was never anything here: the group may be founded.
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

/// Decides by the table at the head of this file. `id` is this node's id in the group.
///
/// # Errors
/// [`Error::Refused`], which says what to do.
pub fn decide(log: &LogContents, store: &StoreContents, id: u64) -> Result<Start> {
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
            None if log_is_gone => {
                engine::reach!("start-founds-the-group");
                Ok(Start::New)
            }
            None if store.strays => Ok(Start::Cleared),
            None => {
                engine::reach!("start-applies-all-of-the-log");
                Ok(Start::Apply)
            }
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
            engine::reach!("log-ends-before-the-store");
            let end = end.map_or("nowhere".to_owned(), |end| format!("at {end}"));
            Err(refused(format!("the metadata store ends at entry {at}, but the log ends {end}")))
        } else {
            Ok(Start::Apply)
        };
    }
    if log.at_mark != Some(applied) {
        return Err(refused(format!("entry {at} of the metadata store and of the log are not the same")));
    }
    engine::reach!("start-with-the-log-purged-to-the-mark", log.purged == Some(applied));
    engine::reach!("start-with-all-of-the-log-applied", end == Some(at));
    engine::reach!("start-applies-the-rest-of-the-log", end > Some(at));
    Ok(Start::Apply)
}

#[cfg(test)]
#[path = "reconcile_tests.rs"]
mod tests;
