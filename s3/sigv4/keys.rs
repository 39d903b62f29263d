//! Credentials, and the signing keys derived from them.
//!
//! Secrets and keys are wiped when dropped, and not printed. A signature that was computed here leaves this module
//! only as the answer of `matches`, so that none is ever compared but in constant time.

use std::collections::BTreeMap;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

type HmacSha256 = Hmac<Sha256>;

/// The secret of an access key: wiped on drop, never printed.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a secret.
    pub fn new(secret: impl Into<String>) -> Secret {
        Secret(Zeroizing::new(secret.into()))
    }

    /// Its bytes, for deriving keys from.
    pub fn expose(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The access keys that are known, with their secrets. Cheap to clone: cores share it.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    known: Arc<BTreeMap<Arc<str>, Secret>>,
}

impl Credentials {
    /// From pairs of access key and secret.
    pub fn new(pairs: impl IntoIterator<Item = (String, Secret)>) -> Credentials {
        Credentials {
            known: Arc::new(pairs.into_iter().map(|(key, secret)| (Arc::from(key), secret)).collect()),
        }
    }

    /// The one pair of a small installation.
    pub fn single(access_key: impl Into<String>, secret: Secret) -> Credentials {
        Credentials::new([(access_key.into(), secret)])
    }

    /// The secret of an access key, with the key in shared form.
    pub fn get(&self, access_key: &str) -> Option<(Arc<str>, &Secret)> {
        self.known.get_key_value(access_key).map(|(key, secret)| (key.clone(), secret))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}

/// A signing key, kept as the HMAC that has taken it in: starting from it saves two of four SHA-256 blocks. Wiped on
/// drop by the `zeroize` feature of the hashes, which a test below asks for.
#[derive(Clone)]
pub struct SigningKey(HmacSha256);

impl SigningKey {
    /// Derives the key of a day, region and the service s3.
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

    /// A MAC to feed with what is signed.
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
    // HMAC takes keys of any length: the error type is for other MACs.
    HmacSha256::new_from_slice(key).unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"))
}

fn sign(key: &[u8], text: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut mac = new_mac(key);
    mac.update(text);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

/// Feeds several pieces.
pub(crate) fn update(mac: &mut HmacSha256, pieces: &[&[u8]]) {
    for piece in pieces {
        mac.update(piece);
    }
}

/// Whether `claimed` is the MAC of what was fed, in a time that does not tell how much of it is right.
pub(crate) fn matches(mac: HmacSha256, claimed: &[u8; 32]) -> bool {
    let ours: [u8; 32] = mac.finalize().into_bytes().into();
    ours.ct_eq(claimed).into()
}

/// The signing keys in use: one per access key and day, for the one region of this endpoint. Only keys of
/// known access keys and of days within a presigned URL's life are ever asked for, and still the number is
/// bounded.
#[derive(Debug, Default)]
pub struct SigningKeys {
    recent: Vec<Entry>,
    turn: usize,
}

#[derive(Debug)]
struct Entry {
    access_key: Arc<str>,
    day: String,
    region: String,
    key: SigningKey,
}

impl SigningKeys {
    /// How many are kept.
    pub const MAX: usize = 64;

    /// The key of this access key and day, derived if it is not at hand.
    pub fn get(&mut self, access_key: &Arc<str>, secret: &Secret, day: &str, region: &str) -> SigningKey {
        let hit = |e: &&Entry| e.day == day && e.access_key == *access_key && e.region == region;
        if let Some(entry) = self.recent.iter().find(hit) {
            return entry.key.clone();
        }
        let key = SigningKey::derive(secret, day, region);
        let (day, region) = (day.to_owned(), region.to_owned());
        let entry = Entry { access_key: access_key.clone(), day, region, key: key.clone() };
        if self.recent.len() < Self::MAX {
            self.recent.push(entry);
        } else {
            self.recent[self.turn] = entry;
            self.turn = (self.turn + 1) % Self::MAX;
        }
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zeroize::ZeroizeOnDrop;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

    /// Compiles only while these wipe what they hold. An HMAC is two states of its hash, each of which wipes itself.
    #[test]
    fn secrets_and_what_is_derived_of_them_are_wiped_on_drop() {
        fn wiped<T: ZeroizeOnDrop>(_: &T) {}
        wiped(&Secret::new(SECRET).0);
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
        let shown = format!("{secret:?} {key:?} {keys:?} {credentials:?} {credentials:#?}");
        assert!(
            shown.contains("ID") && shown.contains("Secret(..)") && shown.contains("SigningKey(..)"),
            "{shown}"
        );
        assert!(!shown.contains(&SECRET[..8]) && !shown.contains("119, 74"), "{shown}");
    }

    #[test]
    fn a_mac_matches_itself_and_nothing_that_differs_in_a_bit() {
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
