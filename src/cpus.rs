//! The CPUs that a node runs on: `--cpus`, so that several nodes share a machine.
//!
//! The process confines itself to them before it starts a thread. All of its threads inherit this, those of the
//! metadata store as well as the cores. Core *i* is pinned to the *i*-th CPU of the list, or shares one if there
//! are fewer.

use crate::error::{Error, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::fmt;

/// A set of CPUs by number, ascending, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpuList(Vec<usize>);

impl CpuList {
    /// Their numbers.
    pub fn numbers(&self) -> &[usize] {
        &self.0
    }
}

impl fmt::Display for CpuList {
    /// As Linux writes it: `0-3,8`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, run) in self.0.chunk_by(|one, next| one + 1 == *next).enumerate() {
            let comma = if at > 0 { "," } else { "" };
            match run {
                [first, .., last] => write!(f, "{comma}{first}-{last}")?,
                [only] => write!(f, "{comma}{only}")?,
                [] => {}
            }
        }
        Ok(())
    }
}

/// Parses numbers and ranges of CPUs: `0-3,8`.
pub fn parse(text: &str) -> std::result::Result<CpuList, String> {
    let form = || "a list of CPUs is numbers and ranges, such as 0-3,8".to_owned();
    let number = |text: &str| match text.parse() {
        _ if !text.bytes().all(|byte| byte.is_ascii_digit()) => Err(form()),
        Ok(cpu) if cpu < CpuSet::MAX_CPU => Ok(cpu),
        Ok(_) => Err(format!("CPUs are numbered up to {}", CpuSet::MAX_CPU - 1)),
        Err(_) => Err(form()),
    };
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (number(first)?, number(last)?);
        if first > last {
            return Err(form());
        }
        cpus.extend(first..=last);
    }
    cpus.sort_unstable();
    match cpus.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("CPU {} is named twice", pair[0])),
        None => Ok(CpuList(cpus)),
    }
}

/// Confines this process to `cpus`. Call it before any thread is started.
///
/// # Errors
/// The process may not use one of them.
pub fn confine(cpus: &CpuList) -> Result<()> {
    let cannot = |error| Error::refused(format!("cannot run on the CPUs {cpus}: {error}; leave --cpus out"));
    let allowed = sched_getaffinity(None).map_err(cannot)?;
    if let Some(cpu) = cpus.0.iter().find(|cpu| !allowed.is_set(**cpu)) {
        let allowed = CpuList((0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect());
        return Err(Error::refused(format!(
            "CPU {cpu} is not one of those that this process may use, {allowed}: give others with --cpus"
        )));
    }
    let mut set = CpuSet::new();
    cpus.0.iter().for_each(|cpu| set.set(*cpu));
    sched_setaffinity(None, &set).map_err(cannot)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_list_is_numbers_and_ranges_each_cpu_once() {
        assert_eq!(parse("0-3,8").unwrap().numbers(), [0, 1, 2, 3, 8]);
        assert_eq!(parse("8,0-3").unwrap().to_string(), "0-3,8");
        assert_eq!(parse("5").unwrap().numbers(), [5]);
        for bad in [
            "",
            ",",
            "1,",
            "-1",
            "1-",
            "3-1",
            "a",
            "0x1",
            "+1",
            "1 2",
            "0-3-5",
            "0,0",
            "0-3,2",
            "99999",
            "0-99999999999999999999",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_forbidden_cpu_is_refused_with_a_list_of_the_allowed_ones() {
        let line = confine(&CpuList(vec![CpuSet::MAX_CPU - 1])).unwrap_err().to_string();
        assert!(line.contains("CPU 1023") && line.contains("--cpus"), "{line}");
    }

    proptest! {
        #[test]
        fn a_shown_list_parses_as_the_same_set(set in prop::collection::btree_set(0_usize..1024, 1..40)) {
            let list = CpuList(set.into_iter().collect());
            prop_assert_eq!(parse(&list.to_string()).unwrap(), list);
        }
    }
}
