//! The thread that owns the metadata store and executes committed commands on it.
//!
//! Promises: commands are executed in log order. A batch of them is written to the store in one write, reconcile
//! with the mark of what was applied. Only then are the cores told, in log order, and only after that is the batch
//! reported as applied. Only this thread writes the store. Any failure ends the node: a store that is ahead of or
//! behind what the cores were told could not be trusted.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use engine::io::{Receiver, Sender, mailbox, now, preemption_point, spawn_worker};
use engine::placement::home_core;
use tokio::sync::oneshot;

use crate::apply;
use crate::command::Outcome;
use crate::feed::{Applied, Feed, Progress, distribute, partition_of};
use crate::key::APPLIED;
use crate::kv::{Batch, Kv, Reader};
use crate::reconcile::StoreContents;
use crate::snapshot;
use crate::types::{Entry, LogId, Payload, StoredMembership};
use crate::wal::record::{Cursor, log_id_bytes, put_membership, take_membership};

/// Maximum number of batches queued for the thread; openraft hands over one at a time.
const QUEUE: usize = if cfg!(sim) { 2 } else { 16 };
/// A write to the store that takes longer than this counts as a stall, microseconds.
const STALL_US: u64 = 10_000;
const APPLIED_VERSION: u8 = 1;

/// Tells the node that it can't go on.
pub type OnFatal = Arc<dyn Fn(&str) + Send + Sync>;

/// The mark of what the store holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mark {
    /// The last entry that was applied.
    pub last: Option<LogId>,
    /// The last membership that was applied.
    pub membership: StoredMembership,
}

impl Mark {
    /// Encodes the `s/applied` row: the version; two log ids, each behind a byte that says whether it is present;
    /// the membership.
    pub fn to_row(&self) -> Vec<u8> {
        let mut row = vec![APPLIED_VERSION];
        for id in [&self.last, self.membership.log_id()] {
            row.push(u8::from(id.is_some()));
            row.extend(id.as_ref().map(log_id_bytes).unwrap_or_default());
        }
        put_membership(&mut row, self.membership.membership());
        row
    }

    /// Decodes a row.
    ///
    /// # Errors
    /// The bytes are not a mark of this version.
    pub fn from_row(row: &[u8]) -> crate::Result<Mark> {
        let parse = || {
            let mut cursor = Cursor(row);
            if cursor.byte()? != APPLIED_VERSION {
                return None;
            }
            let mut ids = [None, None];
            for id in &mut ids {
                if cursor.byte()? != 0 {
                    *id = Some(cursor.log_id()?);
                }
            }
            let membership = take_membership(&mut cursor)?;
            let [last, set_by] = ids;
            cursor.0.is_empty().then(|| Mark { last, membership: StoredMembership::new(set_by, membership) })
        };
        parse().ok_or(crate::Error::Corrupt { what: "applied mark", why: "it does not parse" })
    }

    /// The mark in a store.
    ///
    /// # Errors
    /// The store fails, or its mark is damaged.
    pub fn read(reader: &(impl Reader + ?Sized)) -> crate::Result<Mark> {
        reader.get(APPLIED)?.map_or(Ok(Mark::default()), |row| Mark::from_row(&row))
    }
}

/// What the thread has done since it started.
#[derive(Debug, Default)]
pub struct ApplierStats {
    /// Batches written to the store.
    pub batches: AtomicU64,
    /// Entries in them.
    pub entries: AtomicU64,
    /// Entries of the largest batch.
    pub largest_batch: AtomicU64,
    /// Time spent on executing and writing, microseconds.
    pub busy_us: AtomicU64,
    /// Writes to the store that took more than 10 ms.
    pub stalls: AtomicU64,
    /// The longest write to the store, microseconds.
    pub longest_write_us: AtomicU64,
}

type Reply<T> = oneshot::Sender<crate::Result<T>>;

enum Job {
    Apply(Vec<Entry>, Reply<()>),
    Persist(Reply<Mark>),
    Export(snapshot::Target, Reply<Mark>),
    Install(snapshot::Source, Reply<Mark>),
    Clear(Reply<()>),
}

/// A handle to the thread, for the core that hosts the group.
#[derive(Clone)]
pub struct ApplierHandle {
    jobs: Sender<Job>,
    stats: Arc<ApplierStats>,
}

impl ApplierHandle {
    async fn ask<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> io::Result<T> {
        let (reply, answer) = oneshot::channel();
        let ended = || io::Error::other("the apply thread has ended");
        self.jobs.send(job(reply)).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?.map_err(io::Error::other)
    }

    /// Executes entries; returns once the store holds them and the cores have been told.
    pub async fn apply(&self, entries: Vec<Entry>) -> io::Result<()> {
        self.ask(|reply| Job::Apply(entries, reply)).await
    }

    /// Makes the store's contents durable, and returns their mark.
    pub async fn persist(&self) -> io::Result<Mark> {
        self.ask(Job::Persist).await
    }

    /// Writes all rows as of now.
    pub async fn export(&self, target: snapshot::Target) -> io::Result<Mark> {
        self.ask(|reply| Job::Export(target, reply)).await
    }

    /// Replaces all rows.
    pub async fn install(&self, source: snapshot::Source) -> io::Result<Mark> {
        self.ask(|reply| Job::Install(source, reply)).await
    }

    /// Deletes all rows.
    pub async fn clear(&self) -> io::Result<()> {
        self.ask(Job::Clear).await
    }

    /// What the thread has done.
    pub fn stats(&self) -> &ApplierStats {
        &self.stats
    }
}

/// Starts the thread over a store. `feeds` has one mailbox per core.
///
/// # Errors
/// No thread can be started, or the store can't be read.
pub fn start<K: Kv>(
    kv: Arc<K>,
    feeds: Vec<Sender<Feed>>,
    progress: Arc<Progress>,
    on_fatal: OnFatal,
) -> crate::Result<(ApplierHandle, StoreContents)> {
    let found = StoreContents::of(&kv.snapshot())?;
    let (jobs, queue) = mailbox(QUEUE);
    let stats = Arc::new(ApplierStats::default());
    let thread = Thread {
        kv,
        feeds,
        progress,
        mark: found.mark.clone(),
        applier: apply::Applier::new(),
        stats: stats.clone(),
    };
    spawn_worker("apply", move || thread.run(queue, on_fatal))
        .map_err(|error| crate::Error::Store(format!("can't start the apply thread: {error}")))?;
    Ok((ApplierHandle { jobs, stats }, found))
}

struct Thread<K> {
    kv: Arc<K>,
    feeds: Vec<Sender<Feed>>,
    progress: Arc<Progress>,
    mark: Mark,
    applier: apply::Applier,
    stats: Arc<ApplierStats>,
}

impl<K: Kv> Thread<K> {
    async fn run(mut self, mut queue: Receiver<Job>, on_fatal: OnFatal) {
        while let Some(job) = queue.recv().await {
            let failed = match job {
                Job::Apply(entries, reply) => answer(self.apply(&entries).await, reply),
                Job::Persist(reply) => self.persist(reply, &on_fatal),
                Job::Export(target, reply) => {
                    // A failed write harms nobody else: the target is not the store.
                    let _ = reply.send(snapshot::export(&self.kv.snapshot(), target));
                    None
                }
                Job::Install(source, reply) => answer(self.install(source), reply),
                Job::Clear(reply) => answer(self.clear(), reply),
            };
            if let Some(error) = failed {
                on_fatal(&error.to_string());
                return;
            }
        }
    }

    /// Persists on a separate thread so that apply goes on. What apply writes meanwhile may just become durable
    /// early.
    fn persist(&self, reply: Reply<Mark>, on_fatal: &OnFatal) -> Option<crate::Error> {
        let (kv, mark, on_fatal) = (self.kv.clone(), self.mark.clone(), on_fatal.clone());
        let persist = async move || {
            preemption_point().await;
            let skipped = engine::canary!("snapshot-without-persist");
            let persisted = if skipped { Ok(()) } else { kv.persist() };
            if let Some(error) = answer(persisted.map(|()| mark), reply) {
                on_fatal(&error.to_string());
            }
        };
        let started = spawn_worker("persist", persist);
        started.err().map(|error| crate::Error::Store(format!("can't start the persist thread: {error}")))
    }

    async fn apply(&mut self, entries: &[Entry]) -> crate::Result<()> {
        let Some(last) = entries.last() else { return Ok(()) };
        let started = now();
        let cores = self.feeds.len();
        let mut updates: Vec<Applied> = (0..cores).map(|_| Applied::default()).collect();
        let mut batch = self.execute(entries, &mut updates)?;
        self.mark.last = Some(last.log_id);
        batch.put(APPLIED, self.mark.to_row());
        for (core, _) in updates.iter().enumerate().filter(|(_, update)| !update.is_empty()) {
            self.progress.announce(core, last.log_id.index);
        }
        preemption_point().await;
        let writing = now();
        self.kv.write(batch)?;
        preemption_point().await;
        self.count(entries.len(), writing.elapsed().as_micros(), started.elapsed().as_micros());
        // Core 0 comes last: it also waits for the reply to this batch, and so is woken once for both.
        for (mut update, feed) in updates.into_iter().zip(&self.feeds).rev() {
            if update.is_empty() {
                continue;
            }
            update.index = last.log_id.index;
            // A core that has ended needs no update. A full mailbox holds up apply, and with it all proposers.
            let _ = feed.send(Feed::Applied(update)).await;
            preemption_point().await;
        }
        Ok(())
    }

    fn execute(&mut self, entries: &[Entry], updates: &mut [Applied]) -> crate::Result<Batch> {
        let snapshot = self.kv.snapshot();
        let mut session = self.applier.begin(&snapshot);
        let mut changes = Vec::new();
        for entry in entries {
            let command = match &entry.payload {
                Payload::Blank => continue,
                Payload::Membership(membership) => {
                    self.mark.membership = StoredMembership::new(Some(entry.log_id), membership.clone());
                    continue;
                }
                Payload::Normal(proposal) => proposal.take_command(),
            };
            // A command that this code can't decode is skipped, as the command module says: all nodes do the same.
            let Ok(command) = command else { continue };
            let home = home_core(partition_of(&command), updates.len());
            let id = command.command_id;
            let outcome: Outcome = session.apply(command, &mut changes)?;
            distribute(updates, home, &mut changes);
            updates[home].outcomes.push((id, outcome));
        }
        Ok(session.finish())
    }

    fn count(&self, entries: usize, write_us: u128, all_us: u128) {
        let (entries, write_us) = (entries as u64, u64::try_from(write_us).unwrap_or(u64::MAX));
        let stats = &self.stats;
        stats.batches.fetch_add(1, Ordering::Relaxed);
        stats.entries.fetch_add(entries, Ordering::Relaxed);
        stats.largest_batch.fetch_max(entries, Ordering::Relaxed);
        stats.busy_us.fetch_add(u64::try_from(all_us).unwrap_or(u64::MAX), Ordering::Relaxed);
        stats.longest_write_us.fetch_max(write_us, Ordering::Relaxed);
        if write_us > STALL_US {
            stats.stalls.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn clear(&mut self) -> crate::Result<()> {
        self.kv.replace(&mut std::iter::empty())?;
        self.applier.reset();
        self.mark = Mark::default();
        Ok(())
    }

    fn install(&mut self, source: snapshot::Source) -> crate::Result<Mark> {
        snapshot::install(&*self.kv, source)?;
        self.applier.reset();
        self.mark = Mark::read(&self.kv.snapshot())?;
        Ok(self.mark.clone())
    }
}

/// Executes entries on a store as the thread does, one by one, for the checks of a simulated node.
///
/// # Errors
/// The store can't be read.
#[cfg(sim)]
pub async fn replay<K: Kv>(kv: Arc<K>, entries: &[Entry]) -> crate::Result<()> {
    let mark = Mark::read(&kv.snapshot())?;
    // The only core has ended, so nobody is told.
    let (feeds, progress) = (vec![mailbox(1).0], Arc::new(Progress::new(1)));
    let (applier, stats) = (apply::Applier::new(), Arc::default());
    let mut thread = Thread { kv, feeds, progress, mark, applier, stats };
    for entry in entries {
        thread.apply(std::slice::from_ref(entry)).await?;
    }
    Ok(())
}

/// Replies to a job; returns the error, if there was one.
fn answer<T>(result: crate::Result<T>, reply: Reply<T>) -> Option<crate::Error> {
    let failed = result.as_ref().err().cloned();
    let _ = reply.send(result);
    failed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Membership, log_id};
    use std::collections::{BTreeMap, BTreeSet};

    #[test]
    fn the_bytes_of_the_mark_are_frozen() {
        let nodes = BTreeMap::from([(1, openraft::BasicNode { addr: "a:1".to_owned() })]);
        let members = Membership::new(vec![BTreeSet::from([1])], nodes).expect("a voter that is a node");
        let mark = Mark {
            last: Some(log_id(3, 1, 9)),
            membership: StoredMembership::new(Some(log_id(1, 1, 0)), members),
        };
        assert_eq!(hex::encode(mark.to_row()), GOLDEN);
        assert_eq!(Mark::from_row(&mark.to_row()).expect("decodes"), mark);
        let empty = Mark::default();
        assert_eq!(Mark::from_row(&empty.to_row()).expect("decodes"), empty);
    }

    #[test]
    fn a_truncated_mark_or_one_of_a_later_version_is_refused() {
        let row = Mark { last: Some(log_id(3, 1, 9)), ..Mark::default() }.to_row();
        for len in 0..row.len() {
            assert!(Mark::from_row(&row[..len]).is_err(), "cut at {len}");
        }
        assert!(Mark::from_row(&[&[2], &row[1..]].concat()).is_err());
        assert!(Mark::from_row(&[&row[..], &[0]].concat()).is_err());
    }

    const GOLDEN: &str = "0101030000000000000001000000000000000900000000000000010100000000000000010000000000000000000000000000000100000001000000010000000000000001000000010000000000000003000000613a31";
}
