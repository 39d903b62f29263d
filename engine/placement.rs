//! Maps keys to partitions, partitions to the cores of a node, and blobs to a number of shards. Pure.
//!
//! The partition of a key never changes: its hash is part of the format. The hash is CRC-64/NVME of `bucket 0x00 key`
//! (a bucket name holds no NUL), followed for a part by `0x00` and the part number as a big-endian u16, and mixed by
//! [`mix64`]; the top 12 bits are the partition. The hash has to balance, not to keep secrets: a client that crowds one
//! partition slows only itself and its neighbours on one core.

use crc_fast::CrcAlgorithm;
use smallvec::SmallVec;

use crate::ids::mix64;

/// Number of partitions. It never changes.
pub const PARTITIONS: u16 = 4096;

/// One of the [`PARTITIONS`].
pub type Partition = u16;

/// Partition of an object's key and of its blob.
pub fn partition_of_key(bucket: &str, key: &[u8]) -> Partition {
    hash(&full_name(bucket, key))
}

/// Partition of the blob of one part of a multipart upload. The upload's rows stay in the key's partition.
pub fn partition_of_part(bucket: &str, key: &[u8], part: u16) -> Partition {
    let mut name = full_name(bucket, key);
    name.push(0);
    name.extend_from_slice(&part.to_be_bytes());
    hash(&name)
}

/// The bytes that are hashed, in one piece: for names as short as most are, copying costs less than hashing in pieces.
fn full_name(bucket: &str, key: &[u8]) -> SmallVec<[u8; 256]> {
    let mut name = SmallVec::from_slice(bucket.as_bytes());
    name.push(0);
    name.extend_from_slice(key);
    name
}

fn hash(name: &[u8]) -> Partition {
    let crc = crc_fast::checksum(CrcAlgorithm::Crc64Nvme, name);
    (mix64(crc) >> (64 - PARTITIONS.trailing_zeros())) as Partition
}

/// The core that owns a partition on a node with `cores` cores.
///
/// # Panics
/// If `cores` is 0.
pub fn home_core(partition: Partition, cores: usize) -> usize {
    usize::from(partition) % cores
}

/// How a blob is coded: k data shards and m parity shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Profile {
    /// Data shards.
    pub k: u8,
    /// Parity shards.
    pub m: u8,
}

impl Profile {
    /// The profile of a cluster of `nodes` members (0 counts as 1).
    pub const fn for_nodes(nodes: usize) -> Profile {
        match nodes {
            0 | 1 => Profile { k: 1, m: 0 },
            2 => Profile { k: 1, m: 1 },
            3 | 4 => Profile { k: 2, m: 1 },
            5 => Profile { k: 3, m: 2 },
            _ => Profile { k: 4, m: 2 },
        }
    }

    /// The profile of a small blob: whole copies, one more than the number of shards that the profile can lose.
    pub const fn for_small(self) -> Profile {
        Profile { k: 1, m: self.m }
    }

    /// Number of shards.
    pub const fn shards(self) -> usize {
        self.k as usize + self.m as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_of_known_keys_never_change() {
        let golden = [
            partition_of_key("photos", b"2024/cat.jpg"),
            partition_of_key("a", b""),
            partition_of_key("bucket", "ключ".as_bytes()),
            partition_of_part("photos", b"2024/cat.jpg", 1),
            partition_of_part("photos", b"2024/cat.jpg", 10_000),
        ];
        assert_eq!(golden, [356, 2249, 1397, 3913, 632]);
    }

    #[test]
    fn sequential_keys_spread_evenly_over_partitions_and_cores() {
        let mut counts = vec![0u32; usize::from(PARTITIONS)];
        for index in 0..409_600u32 {
            counts[usize::from(partition_of_key("b", format!("dir/{index:08}").as_bytes()))] += 1;
        }
        assert!(counts.iter().all(|count| (40..180).contains(count)), "{:?}", counts.iter().max());
        let on_core_0 = counts.iter().step_by(3).sum::<u32>();
        assert!((130_000..143_000).contains(&on_core_0));
    }

    #[test]
    fn profiles_follow_the_number_of_nodes() {
        let table = [(1, 1, 0), (2, 1, 1), (3, 2, 1), (4, 2, 1), (5, 3, 2), (6, 4, 2), (100, 4, 2)];
        for (nodes, k, m) in table {
            assert_eq!(Profile::for_nodes(nodes), Profile { k, m });
            assert_eq!(Profile::for_nodes(nodes).for_small(), Profile { k: 1, m });
        }
        assert_eq!(Profile::for_nodes(6).shards(), 6);
    }

    #[test]
    fn home_core_is_the_remainder() {
        assert_eq!(home_core(4095, 4), 3);
        assert_eq!(home_core(4095, 1), 0);
    }
}
