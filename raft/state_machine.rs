//! openraft's state machine, backed by the apply thread.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;

use futures_lite::{Stream, StreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::type_config::alias::{SnapshotMetaOf, SnapshotOf};
use openraft::{OptionalSend, RaftSnapshotBuilder};

use crate::applier::{ApplierHandle, Mark};
use crate::snapshot::Source;
use crate::types::{LogId, StoredMembership, TypeConfig};

/// What a snapshot carries.
pub struct SnapshotData {
    /// The rows, if they come from another node. This node's own rows are in its store, and are written out when
    /// they are sent.
    rows: Option<Source>,
}

/// The state machine; clones share the apply thread.
#[derive(Clone)]
pub struct StateMachine {
    applier: ApplierHandle,
    /// What was applied, as far as this core knows.
    applied: Rc<RefCell<Mark>>,
    /// What is durable in the store.
    persisted: Rc<RefCell<Mark>>,
}

impl StateMachine {
    /// Starts from a store that durably holds what `mark` says.
    pub fn new(applier: ApplierHandle, mark: Mark) -> StateMachine {
        let persisted = Rc::new(RefCell::new(mark.clone()));
        StateMachine { applier, applied: Rc::new(RefCell::new(mark)), persisted }
    }

    async fn persist(&self) -> io::Result<Mark> {
        let mark = self.applier.persist().await?;
        self.persisted.replace(mark.clone());
        Ok(mark)
    }
}

fn in_store(mark: Mark) -> SnapshotOf<TypeConfig, SnapshotData> {
    let meta = SnapshotMetaOf::<TypeConfig> { last_log_id: mark.last, last_membership: mark.membership };
    SnapshotOf::<TypeConfig, SnapshotData> { meta, snapshot: SnapshotData { rows: None } }
}

impl RaftSnapshotBuilder<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<TypeConfig, SnapshotData>> {
        engine::reach!("snapshot");
        Ok(in_store(self.persist().await?))
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = StateMachine;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let mark = self.applied.borrow();
        Ok((mark.last, mark.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let mut batch = Vec::new();
        let mut responders = Vec::new();
        while let Some(item) = Pin::new(&mut entries).next().await {
            let (entry, responder) = item?;
            batch.push(entry);
            responders.extend(responder);
        }
        let Some(last) = batch.last().map(|entry| entry.log_id) else { return Ok(()) };
        let membership = batch.iter().rev().find_map(|entry| match &entry.payload {
            crate::types::Payload::Membership(new) => {
                Some(StoredMembership::new(Some(entry.log_id), new.clone()))
            }
            _ => None,
        });
        self.applier.apply(batch).await?;
        {
            let mut mark = self.applied.borrow_mut();
            mark.last = Some(last);
            if let Some(membership) = membership {
                mark.membership = membership;
            }
        }
        for responder in responders {
            responder.send(());
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> StateMachine {
        self.clone()
    }

    async fn install_snapshot(
        &mut self,
        _meta: &SnapshotMetaOf<TypeConfig>,
        snapshot: SnapshotData,
    ) -> io::Result<()> {
        let Some(source) = snapshot.rows else { return Ok(()) };
        let mark = self.applier.install(source).await?;
        self.applied.replace(mark.clone());
        self.persisted.replace(mark);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<TypeConfig, SnapshotData>>> {
        let mark = self.persisted.borrow().clone();
        Ok(mark.last.is_some().then(|| in_store(mark)))
    }
}
