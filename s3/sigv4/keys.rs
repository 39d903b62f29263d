//! Credentials, and the signing keys derived from them.
//!
//! Secrets and keys are wiped when dropped and never printed. A signature computed here leaves this module only as the
//! result of `matches`, so every comparison takes constant time.
//!
//! The table of credentials may be replaced while the node runs. Each core works with a snapshot and checks at every
//! request whether there is a newer one. So once [`Credentials::replace`] has returned, no request that arrives is
//! verified against the old table.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

type HmacSha256 = Hmac<Sha256>;

/// The secret of an access key: wiped on drop, never printed. Clones share it.
#[derive(Clone)]
pub struct Secret(Arc<Zeroizing<String>>);

impl Secret {
    /// Wraps a secret.
    pub fn new(secret: impl Into<String>) -> Secret {
        Secret(Arc::new(Zeroizing::new(secret.into())))
    }

    /// Its bytes, for deriving keys.
    pub fn expose(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Whether both are equal, in a time that depends only on their lengths.
    fn equals(&self, other: &Secret) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.expose().ct_eq(other.expose()).into()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The known access keys with their secrets, at one moment.
#[derive(Debug, Default)]
pub struct Table(BTreeMap<Arc<str>, Secret>);

impl Table {
    /// The secret of an access key, and the key in shared form.
    pub fn get(&self, access_key: &str) -> Option<(Arc<str>, &Secret)> {
        self.0.get_key_value(access_key).map(|(key, secret)| (key.clone(), secret))
    }
}

/// The table of a node. Clones share it, and all of them see a replacement.
#[derive(Debug, Clone, Default)]
pub struct Credentials(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Counts replacements, so that a check takes no lock.
    version: AtomicU64,
    table: Mutex<Arc<Table>>,
}

/// A table and its version.
#[derive(Debug)]
pub struct Snapshot {
    version: u64,
    /// The table.
    pub table: Arc<Table>,
}

impl Credentials {
    /// Creates a table from pairs of access key and secret.
    pub fn new(pairs: impl IntoIterator<Item = (String, Secret)>) -> Credentials {
        let credentials = Credentials::default();
        credentials.replace(pairs);
        credentials
    }

    /// Creates a table with a single pair.
    pub fn single(access_key: impl Into<String>, secret: Secret) -> Credentials {
        Credentials::new([(access_key.into(), secret)])
    }

    /// Replaces the whole table at once.
    pub fn replace(&self, pairs: impl IntoIterator<Item = (String, Secret)>) {
        let table = pairs.into_iter().map(|(key, secret)| (Arc::from(key), secret)).collect();
        let mut current = self.0.table.lock().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(Table(table));
        self.0.version.fetch_add(1, Ordering::SeqCst);
    }

    /// The table as it is now.
    pub fn snapshot(&self) -> Snapshot {
        let current = self.0.table.lock().unwrap_or_else(PoisonError::into_inner);
        Snapshot { version: self.0.version.load(Ordering::SeqCst), table: current.clone() }
    }

    /// Updates a snapshot; returns true if it was stale.
    pub fn refresh(&self, snapshot: &mut Snapshot) -> bool {
        let stale = self.0.version.load(Ordering::SeqCst) != snapshot.version;
        if stale {
            *snapshot = self.snapshot();
        }
        stale
    }
}

/// A signing key, kept as an HMAC that has already absorbed it: starting from there saves two of four SHA-256 blocks.
/// It is wiped on drop by the `zeroize` feature of the hash crates, which a test below checks.
#[derive(Clone)]
pub struct SigningKey(HmacSha256);

impl SigningKey {
    /// Derives the key for a day, a region and the service s3.
    pub fn derive(secret: &Secret, day: &str, region: &str) -> SigningKey {
        let mut seed = Zeroizing::new(Vec::with_capacity(4 + secret.expose().len()));
        seed.extend_from_slice(b"AWS4");
        seed.extend_from_slice(secret.expose());
        let mut key = sign(&seed, day.as_bytes());
        for part in [region.as_bytes(), b"s3", b"aws4_request"] {
            key = sign(&key[..], part);
        }
        SigningKey(new_mac(&key[..]))
    }

    /// A MAC to be fed with the data to sign.
    pub(crate) fn mac(&self) -> HmacSha256 {
        self.0.clone()
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

fn new_mac(key: &[u8]) -> HmacSha256 {
    // HMAC takes keys of any length; the error type is there for other MACs.
    HmacSha256::new_from_slice(key).unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"))
}

fn sign(key: &[u8], text: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut mac = new_mac(key);
    mac.update(text);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

/// Feeds several pieces to the MAC.
pub(crate) fn update(mac: &mut HmacSha256, pieces: &[&[u8]]) {
    for piece in pieces {
        mac.update(piece);
    }
}

/// Whether `claimed` is the MAC of the data fed, in a time that does not reveal how much of it is right.
pub(crate) fn matches(mac: HmacSha256, claimed: &[u8; 32]) -> bool {
    let ours: [u8; 32] = mac.finalize().into_bytes().into();
    ours.ct_eq(claimed).into()
}

/// The signing keys in use: one per access key and day, for the one region of this endpoint. A key is found only by the
/// secret from which it was derived. Only known access keys and days within the lifetime of a presigned URL get a key,
/// but their number is limited all the same.
#[derive(Debug, Default)]
pub struct SigningKeys {
    recent: Vec<Entry>,
    next: usize,
}

#[derive(Debug)]
struct Entry {
    access_key: Arc<str>,
    secret: Secret,
    day: String,
    region: String,
    key: SigningKey,
}

impl SigningKeys {
    /// The number of keys kept.
    pub const MAX: usize = 64;

    /// The key for this access key and day, derived unless it is cached.
    pub fn get(&mut self, access_key: &Arc<str>, secret: &Secret, day: &str, region: &str) -> SigningKey {
        let hit = |e: &Entry| {
            e.day == day && e.access_key == *access_key && e.region == region && e.secret.equals(secret)
        };
        if let Some(entry) = self.recent.iter().find(|entry| hit(entry)) {
            return entry.key.clone();
        }
        let key = SigningKey::derive(secret, day, region);
        let entry = Entry {
            access_key: access_key.clone(),
            secret: secret.clone(),
            day: day.to_owned(),
            region: region.to_owned(),
            key: key.clone(),
        };
        if self.recent.len() < Self::MAX {
            self.recent.push(entry);
        } else {
            self.recent[self.next] = entry;
            self.next = (self.next + 1) % Self::MAX;
        }
        key
    }

    /// Drops the keys of pairs that are not in the table.
    pub fn retain_current(&mut self, table: &Table) {
        self.recent.retain(|entry| {
            table.get(&entry.access_key).is_some_and(|(_, secret)| secret.equals(&entry.secret))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zeroize::ZeroizeOnDrop;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

    /// Compiles only if these types wipe their contents. An HMAC is two states of its hash, each of which wipes itself.
    #[test]
    fn secrets_and_keys_derived_from_them_are_wiped_on_drop() {
        fn wiped<T: ZeroizeOnDrop>(_: &T) {}
        wiped(&*Secret::new(SECRET).0);
        wiped(&sign(b"key", b"text"));
        wiped(&Sha256::default());
        wiped(&sha1::Sha1::default());
    }

    #[test]
    fn nothing_that_holds_a_secret_prints_it() {
        let secret = Secret::new(SECRET);
        let mut keys = SigningKeys::default();
        let key = keys.get(&Arc::from("ID"), &secret, "20130524", "us-east-1");
        let credentials = Credentials::single("ID", secret.clone());
        let snapshot = credentials.snapshot();
        let shown = format!("{secret:?} {key:?} {keys:?} {credentials:?} {credentials:#?} {snapshot:?}");
        assert!(
            shown.contains("ID") && shown.contains("Secret(..)") && shown.contains("SigningKey(..)"),
            "{shown}"
        );
        assert!(!shown.contains(&SECRET[..8]) && !shown.contains("119, 74"), "{shown}");
    }

    /// The cache looked keys up by access key, day and region only. A changed secret would have been used with the key
    /// derived from the old one for the rest of the day: the old secret would still have signed, and the new one could
    /// not.
    #[test]
    fn a_changed_secret_never_uses_a_key_derived_from_the_old_one() {
        let (id, mut keys) = (Arc::from("ID"), SigningKeys::default());
        let mac = |key: SigningKey| <[u8; 32]>::from(key.mac().finalize().into_bytes());
        let mut of = |secret: &str| mac(keys.get(&id, &Secret::new(secret), "20130524", "us-east-1"));
        let (old, new) = (of(SECRET), of("another-secret"));
        assert_ne!(old, new);
        assert_eq!((of(SECRET), of("another-secret")), (old, new));
        let credentials = Credentials::single("ID", Secret::new("another-secret"));
        keys.retain_current(&credentials.snapshot().table);
        assert_eq!(keys.recent.len(), 1, "the key of the removed secret is wiped");
    }

    #[test]
    fn every_holder_sees_a_replaced_table_at_its_next_check() {
        let credentials = Credentials::single("ID", Secret::new(SECRET));
        let (elsewhere, mut snapshot) = (credentials.clone(), credentials.snapshot());
        assert!(!elsewhere.refresh(&mut snapshot));
        credentials.replace([("OTHER".to_owned(), Secret::new("s"))]);
        assert!(snapshot.table.get("ID").is_some(), "a request ends with the table with which it began");
        assert!(elsewhere.refresh(&mut snapshot) && !elsewhere.refresh(&mut snapshot));
        assert!(snapshot.table.get("ID").is_none() && snapshot.table.get("OTHER").is_some());
    }

    #[test]
    fn a_mac_matches_itself_and_nothing_that_differs_by_a_bit() {
        let mac = SigningKey::derive(&Secret::new(SECRET), "20130524", "us-east-1").mac();
        let mut claimed: [u8; 32] = mac.clone().finalize().into_bytes().into();
        assert!(matches(mac.clone(), &claimed));
        for bit in 0..256 {
            claimed[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches(mac.clone(), &claimed), "bit {bit}");
            claimed[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
