use std::future::poll_fn;

use super::*;
use crate::io::{block_on, now, sleep, spawn};
use crate::limits::{EXTENT_BYTES, PIECE_BLOCKS, SMALL_RESERVE_BYTES};
use crate::write::piece_blocks;

const MIB: usize = 1 << 20;

/// A task that holds `bytes` while its client does nothing, shrinks to `kept` when asked, and ends when told to.
fn slow(holder: Rc<Holder>, class: Class, bytes: usize, kept: usize) -> io::JoinHandle<Vec<Demand>> {
    spawn(async move {
        let mut held = holder.acquire(class, bytes).await.expect("memory");
        let mut demands = Vec::new();
        while demands.last() != Some(&Demand::End) {
            demands.push(poll_fn(|cx| holder.poll_demand(cx)).await);
            held.shrink(kept);
        }
        demands
    })
}

#[test]
fn slow_clients_give_their_memory_to_those_that_wait_for_it() {
    block_on(async {
        let budget = Budget::new();
        let holders: Vec<_> = (0..80).map(|_| budget.holder()).collect();
        let tasks: Vec<_> =
            holders.iter().map(|holder| slow(holder.clone(), Class::Large, MIB, 64 << 10)).collect();
        while budget.held(Class::Large) < 70 * MIB {
            io::yield_now().await;
        }
        let good = budget.holder();
        let mut taken = Vec::new();
        for _ in 0..60 {
            taken.push(good.acquire(Class::Large, MIB).await.expect("memory, soon"));
        }
        assert_eq!(budget.shortages().refused, 0);
        assert_eq!(budget.shortages().ended, 0, "what they keep leaves enough room");
        drop((taken, tasks));
    })
    .expect("executor");
}

/// Stalled requests kept half of the memory, from where on everybody's buffers are small.
#[test]
fn stalled_requests_shrink_before_the_buffers_of_others_get_smaller() {
    block_on(async {
        let budget = Budget::new();
        let holder = budget.holder();
        let used = BODY_BUDGET_BYTES - AMPLE_BODY_BYTES + 1;
        let _held = holder.try_acquire(Class::Large, used).expect("memory");
        assert_eq!(poll_fn(|cx| holder.poll_demand(cx)).await, Demand::Shrink);
        assert_eq!(piece_blocks(budget.free()), PIECE_BLOCKS);
    })
    .expect("executor");
}

#[test]
fn holders_that_waited_longest_end_if_shrinking_is_not_enough() {
    block_on(async {
        let budget = Budget::new();
        let holders: Vec<_> = (0..78).map(|_| budget.holder()).collect();
        let mut tasks = Vec::new();
        for holder in &holders {
            tasks.push(slow(holder.clone(), Class::Large, MIB, MIB));
            io::yield_now().await;
        }
        let good = budget.holder();
        let mut taken = Vec::new();
        for _ in 0..30 {
            taken.push(good.acquire(Class::Large, MIB).await.expect("memory, soon"));
        }
        assert_eq!(budget.shortages().refused, 0);
        assert_eq!(tasks.remove(0).await.expect("ended"), [Demand::Shrink, Demand::End]);
        assert!(holders[77].demand.get() != Some(Demand::End), "the newest holder stays");
    })
    .expect("executor");
}

#[test]
fn nobody_waits_forever() {
    block_on(async {
        let budget = Budget::new();
        let (busy, other) = (budget.holder(), budget.holder());
        let all = busy.try_acquire(Class::Large, BODY_BUDGET_BYTES - SMALL_RESERVE_BYTES).expect("all");
        let began = now();
        assert!(matches!(other.acquire(Class::Large, 1).await, Err(Error::Busy(_))));
        assert!(began.elapsed() >= BUDGET_WAIT && began.elapsed() < 2 * BUDGET_WAIT);
        assert_eq!(budget.shortages().refused, 1);
        assert!(other.try_acquire(Class::Small, 1).is_some(), "small bodies have their reserve");
        drop(all);
        assert!(other.try_acquire(Class::Large, MIB).is_some());
        assert_eq!(budget.free(), BODY_BUDGET_BYTES);
    })
    .expect("executor");
}

#[test]
fn a_waiter_that_gives_up_leaves_the_queue_and_keeps_nothing() {
    block_on(async {
        let budget = Budget::new();
        let holder = budget.holder();
        let large = BODY_BUDGET_BYTES - SMALL_RESERVE_BYTES;
        let all = holder.try_acquire(Class::Large, large).expect("all");
        let mut waits = Box::pin(holder.acquire(Class::Large, large));
        poll_fn(|cx| {
            assert!(waits.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        let mut served = Box::pin(holder.acquire(Class::Large, MIB));
        poll_fn(|cx| {
            assert!(served.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        drop(waits);
        drop(all);
        // It was served, but never looked at the result.
        drop(served);
        assert_eq!(budget.free(), BODY_BUDGET_BYTES);
        sleep(2 * COLLECT_EVERY).await;
        assert!(!budget.0.collecting.get(), "nobody collects memory any more");
    })
    .expect("executor");
}

#[test]
fn the_address_that_holds_most_is_asked_first() {
    block_on(async {
        let budget = Budget::new();
        let (modest, greedy) = (budget.holder(), budget.holder());
        modest.set_account(Account { credential: 1, address: 1 });
        greedy.set_account(Account { credential: 1, address: 2 });
        let first = slow(modest.clone(), Class::Large, 5 * MIB, 5 * MIB);
        io::yield_now().await;
        let second = slow(greedy.clone(), Class::Large, 70 * MIB, 70 * MIB);
        assert_eq!(second.await.expect("ended"), [Demand::Shrink, Demand::End]);
        assert!(modest.waits_since.get().is_some());
        assert_ne!(modest.demand.get(), Some(Demand::End));
        drop(first);
    })
    .expect("executor");
}

#[test]
fn a_holder_that_moved_again_does_not_see_an_old_demand() {
    block_on(async {
        let budget = Budget::new();
        let holder = budget.holder();
        let held = holder.try_acquire(Class::Large, MIB).expect("memory");
        let poll = |holder: &Holder| {
            let mut polled = Poll::Pending;
            let waker = std::task::Waker::noop();
            if let Poll::Ready(demand) = holder.poll_demand(&Context::from_waker(waker)) {
                polled = Poll::Ready(demand);
            }
            polled
        };
        assert!(poll(&holder).is_pending());
        holder.ask(Demand::Shrink);
        holder.moved(PROGRESS_BYTES);
        assert!(poll(&holder).is_pending());
        holder.ask(Demand::Shrink);
        assert_eq!(poll(&holder), Poll::Ready(Demand::Shrink));
        drop(held);
    })
    .expect("executor");
}

/// A client that sent a few bytes every 90 ms used to count as making progress, and kept all its memory for good.
#[test]
fn a_client_that_drips_is_as_slow_as_one_that_does_nothing() {
    block_on(async {
        let budget = Budget::new();
        let holder = budget.holder();
        let held = holder.try_acquire(Class::Large, 70 * MIB).expect("memory");
        let dripping = spawn(async move {
            loop {
                let demand = io::timeout(SHRINK_AFTER_STALL / 2, poll_fn(|cx| holder.poll_demand(cx)));
                if let Ok(Demand::End) = demand.await {
                    return drop(held);
                }
                holder.moved(1);
            }
        });
        let good = budget.holder();
        let taken = good.acquire(Class::Large, 20 * MIB).await;
        assert!(taken.is_ok() && budget.shortages().ended == 1);
        dripping.await.expect("ended");
    })
    .expect("executor");
}

/// A task that reserves an extent's space while its client does nothing, and ends when told to.
fn reserves(holder: Rc<Holder>, disk_share: usize) -> io::JoinHandle<()> {
    spawn(async move {
        let held = holder.reserve_space(EXTENT_BYTES as usize, disk_share).expect("space");
        while poll_fn(|cx| holder.poll_demand(cx)).await != Demand::End {}
        drop(held);
    })
}

/// Slow clients that had sent a block each reserved an extent each, until the disk was full and everybody got a 507.
#[test]
fn slow_clients_give_up_the_space_that_they_reserved() {
    block_on(async {
        let budget = Budget::new();
        let most = SPACE_BUDGET_BYTES - SMALL_SPACE_RESERVE_BYTES;
        let slots = most / EXTENT_BYTES as usize;
        let mut tasks: Vec<_> = (0..slots).map(|_| reserves(budget.holder(), usize::MAX)).collect();
        while budget.held(Class::Space) < most {
            io::yield_now().await;
        }
        let good = budget.holder();
        let refused = good.reserve_space(EXTENT_BYTES as usize, usize::MAX);
        assert!(matches!(refused, Err(Error::Busy(_))), "nobody waits for space");
        let small =
            good.reserve_space(SMALL_SPACE_BYTES, usize::MAX).expect("bodies of a few MiB have a reserve");
        drop(small);
        sleep(END_AFTER_STALL + 2 * COLLECT_EVERY).await;
        assert_eq!(budget.shortages().ended as usize, slots / 3, "until half of the budget is free");
        tasks.remove(0).await.expect("the oldest has ended");
        let held = good.reserve_space(slots / 3 * EXTENT_BYTES as usize, usize::MAX).expect("space");
        drop((held, tasks));
    })
    .expect("executor");
}

#[test]
fn a_crowded_disk_ends_slow_clients_before_the_budget_is_used_up() {
    block_on(async {
        let budget = Budget::new();
        let ample: Vec<_> = (0..6).map(|_| reserves(budget.holder(), usize::MAX)).collect();
        sleep(END_AFTER_STALL + 2 * COLLECT_EVERY).await;
        assert_eq!(budget.shortages().ended, 0, "the disk has room");
        let crowded = reserves(budget.holder(), 0);
        sleep(2 * COLLECT_EVERY).await;
        assert_eq!(budget.shortages().ended, 4, "of seven, three may stay");
        drop((ample, crowded));
    })
    .expect("executor");
}
