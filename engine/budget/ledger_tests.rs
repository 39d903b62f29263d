use proptest::prelude::*;

use super::*;
use crate::limits::SMALL_BLOB_BYTES;

const A: Account = Account { credential: 1, address: 1 };
const B: Account = Account { credential: 1, address: 2 };
const C: Account = Account { credential: 2, address: 1 };

#[derive(Clone, Debug)]
enum Step {
    Want(usize, Class, usize),
    /// One of the requests that hold something, or wait, is done: which one, modulo their number.
    Done(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let class = prop_oneof![Just(Class::Small), Just(Class::Large), Just(Class::Input), Just(Class::Space)];
    let want = (0usize..6, class, 1usize..=16).prop_map(|(account, class, bytes)| {
        let unit = match class {
            Class::Input => 8 << 10,
            Class::Small => SMALL_BLOB_BYTES / 16,
            Class::Large => BODY_BUDGET_BYTES / 160,
            Class::Space => SPACE_BUDGET_BYTES / 40,
        };
        Step::Want(account, class, bytes * unit)
    });
    prop_oneof![2 => want, 1 => any::<usize>().prop_map(Step::Done)]
}

fn account(number: usize) -> Account {
    Account { credential: number as u64 / 3, address: number as u64 % 3 }
}

proptest! {
    #[test]
    fn limits_and_the_reserve_hold_and_the_account_that_holds_least_is_served_first(
        steps in prop::collection::vec(step(), 1..400),
    ) {
        let mut ledger = Ledger::default();
        let mut held: Vec<(Account, Class, usize)> = Vec::new();
        let mut waiting: Vec<(u64, Account, Class, usize)> = Vec::new();
        let ending = std::iter::repeat_n(Step::Done(0), steps.len());
        for step in steps.into_iter().chain(ending) {
            match step {
                Step::Want(number, class, bytes) => {
                    let account = account(number);
                    let others = waiting.iter().any(|(_, _, other, _)| *other == class);
                    let taken = ledger.try_take(class, account, bytes);
                    prop_assert!(!(taken && others), "it overtook those that wait");
                    match taken {
                        true => held.push((account, class, bytes)),
                        false if class == Class::Space => prop_assert!(ledger.free(class) < bytes),
                        false => waiting.push((ledger.queue(class, account, bytes), account, class, bytes)),
                    }
                }
                Step::Done(which) if !held.is_empty() => {
                    let (account, class, bytes) = held.swap_remove(which % held.len());
                    ledger.release(class, account, bytes);
                }
                Step::Done(which) if !waiting.is_empty() => {
                    let (ticket, account, class, _) = waiting.swap_remove(which % waiting.len());
                    prop_assert!(ledger.leave(class, account, ticket));
                }
                Step::Done(_) => {}
            }
            let of = |held: &[(Account, Class, usize)], account: Account| -> (usize, usize) {
                let bodies = || held.iter().filter(|(_, class, _)| class.is_body());
                let credential = bodies().filter(|(other, ..)| other.credential == account.credential);
                let address = bodies().filter(|(other, ..)| *other == account);
                (credential.map(|held| held.2).sum(), address.map(|held| held.2).sum())
            };
            while let Some(ticket) = ledger.next() {
                let at = waiting.iter().position(|(other, ..)| *other == ticket).expect("the ticket waits");
                let (_, account, class, bytes) = waiting.remove(at);
                for (_, other, ..) in waiting.iter().filter(|(_, _, other, _)| *other == class) {
                    prop_assert!(of(&held, account) <= of(&held, *other), "{account:?} before {other:?}");
                }
                held.push((account, class, bytes));
            }
            let sum = |class| held.iter().filter(|held| held.1 == class).map(|held| held.2).sum::<usize>();
            for class in [Class::Input, Class::Small, Class::Large, Class::Space] {
                prop_assert_eq!(ledger.held(class), sum(class));
                let waits: usize = waiting.iter().filter(|wait| wait.2 == class).map(|wait| wait.3).sum();
                prop_assert_eq!(ledger.waiting(class), waits);
            }
            prop_assert!(sum(Class::Input) <= INPUT_BUDGET_BYTES);
            prop_assert!(sum(Class::Space) <= SPACE_BUDGET_BYTES);
            prop_assert!(sum(Class::Large) <= BODY_BUDGET_BYTES - SMALL_RESERVE_BYTES);
            prop_assert!(sum(Class::Small) + sum(Class::Large) <= BODY_BUDGET_BYTES);
            prop_assert!(ledger.free(Class::Small) + sum(Class::Small) >= SMALL_RESERVE_BYTES);
        }
        prop_assert!(held.is_empty() && waiting.is_empty());
        prop_assert_eq!(ledger.free(Class::Small), BODY_BUDGET_BYTES);
    }
}

#[test]
fn a_small_body_is_served_however_much_large_bodies_hold_and_wait_for() {
    let mut ledger = Ledger::default();
    while ledger.try_take(Class::Large, A, 1 << 20) {}
    ledger.queue(Class::Large, A, 1 << 20);
    assert!(ledger.try_take(Class::Small, B, 4096));
    assert!(ledger.try_take(Class::Small, A, 4096));
}

#[test]
fn the_credential_and_then_the_address_that_holds_least_is_served_next() {
    let mut ledger = Ledger::default();
    let large = ledger.free(Class::Large);
    assert!(ledger.try_take(Class::Large, A, large - 30));
    assert!(ledger.try_take(Class::Large, B, 20));
    assert!(ledger.try_take(Class::Large, C, 10));
    let first_of_a = ledger.queue(Class::Large, A, 10);
    let second_of_a = ledger.queue(Class::Large, A, 10);
    let of_b = ledger.queue(Class::Large, B, 10);
    let of_c = ledger.queue(Class::Large, C, 10);
    assert_eq!(ledger.next(), None);
    ledger.release(Class::Large, A, 40);
    let served: Vec<u64> = std::iter::from_fn(|| ledger.next()).collect();
    assert_eq!(served, [of_c, of_b, first_of_a, second_of_a]);
}

#[test]
fn accounts_that_hold_nothing_are_forgotten() {
    let mut ledger = Ledger::default();
    for address in 0..100_000 {
        let account = Account { credential: address, address };
        assert!(ledger.try_take(Class::Small, account, 1));
        ledger.release(Class::Small, account, 1);
    }
    assert!(ledger.accounts.len() <= IDLE_ACCOUNTS + 1 && ledger.credentials.len() <= IDLE_ACCOUNTS + 1);
}
