//! The root credential of the S3 port: from the environment, from files that the environment names, or generated once
//! by `quickstart`.
//!
//! The secret is wiped when dropped and shown only in the export lines of `quickstart`.

use crate::error::{Error, Result};
use crate::files::{self, Secrecy};
use std::fmt;
use std::path::Path;
use zeroize::Zeroizing;

/// The variable with the access key id; with `_FILE` appended, the variable that names a file with it.
pub const ACCESS_KEY_ID: &str = "HAMSTER_ACCESS_KEY_ID";
/// The variable with the secret; with `_FILE` appended, the variable that names a file with it.
pub const SECRET_ACCESS_KEY: &str = "HAMSTER_SECRET_ACCESS_KEY";
const QUICKSTART_FILE: &str = "quickstart.env";

/// An access key and its secret.
#[derive(Clone)]
pub struct Credentials {
    /// The access key id: 3 to 128 letters, digits and `_-.`.
    pub access_key_id: String,
    /// The secret: 8 to 128 visible ASCII characters.
    pub secret_access_key: Zeroizing<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Credentials").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

impl Credentials {
    /// Checks a credential given by a person or a file.
    pub fn new(access_key_id: &str, secret_access_key: Zeroizing<String>) -> Result<Self> {
        let id_fits = (3..=128).contains(&access_key_id.len())
            && access_key_id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
        if !id_fits {
            return Err(Error::usage(format!(
                "{ACCESS_KEY_ID} takes 3 to 128 letters, digits, '_', '-' and '.'"
            )));
        }
        let secret_fits = (8..=128).contains(&secret_access_key.len())
            && secret_access_key.bytes().all(|byte| byte.is_ascii_graphic());
        if !secret_fits {
            return Err(Error::usage(format!(
                "{SECRET_ACCESS_KEY} takes 8 to 128 visible ASCII characters without spaces"
            )));
        }
        Ok(Self { access_key_id: access_key_id.to_owned(), secret_access_key })
    }
}

/// The credential in the environment, if there is one. `variable` looks up a name.
pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Credentials>> {
    let id = one_of(&variable, ACCESS_KEY_ID)?;
    let secret = one_of(&variable, SECRET_ACCESS_KEY)?;
    match (id, secret) {
        (Some(id), Some(secret)) => Ok(Some(Credentials::new(&id, secret)?)),
        (None, None) => Ok(None),
        (Some(_), None) => Err(unpaired(ACCESS_KEY_ID, SECRET_ACCESS_KEY)),
        (None, Some(_)) => Err(unpaired(SECRET_ACCESS_KEY, ACCESS_KEY_ID)),
    }
}

/// The error for serving S3 without a credential.
pub fn missing() -> Error {
    Error::refused(format!(
        "no credential for the S3 port: set {ACCESS_KEY_ID} and {SECRET_ACCESS_KEY} (or the _FILE variants), or give --no-s3"
    ))
}

/// The credential of `quickstart`: read from the data directory, or generated there the first time.
pub fn quickstart(data_dir: &Path) -> Result<Credentials> {
    let path = data_dir.join(QUICKSTART_FILE);
    if path.exists() {
        let text = files::read_secret_text(&path, Secrecy::Secret)?;
        let value = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
                .map(|value| Zeroizing::new(value.trim().to_owned()))
                .ok_or_else(|| {
                    Error::refused(format!(
                        "{} has no line {name}=…: restore it, or remove it to make a new credential",
                        path.display()
                    ))
                })
        };
        return Credentials::new(&value(ACCESS_KEY_ID)?, value(SECRET_ACCESS_KEY)?).map_err(|error| {
            Error::refused(format!(
                "{}: {error}: restore it, or remove it to make a new credential",
                path.display()
            ))
        });
    }
    let credentials = random();
    let text = Zeroizing::new(format!(
        "{ACCESS_KEY_ID}={}\n{SECRET_ACCESS_KEY}={}\n",
        credentials.access_key_id,
        credentials.secret_access_key.as_str()
    ));
    files::replace_secret(&path, text.as_bytes())?;
    Ok(credentials)
}

/// Generates a credential in the form of AWS's (20 capitals and digits; 40 letters and digits), so that no client's own
/// check rejects it.
fn random() -> Credentials {
    const CAPITALS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789xy";
    let mut bytes = Zeroizing::new([0u8; 56]);
    engine::io::fill_random(&mut bytes[..]);
    let mut access_key_id = String::from("HMST");
    access_key_id.extend(bytes[..16].iter().map(|byte| CAPITALS[usize::from(byte % 32)] as char));
    let mut secret = Zeroizing::new(String::with_capacity(40));
    secret.extend(bytes[16..].iter().map(|byte| LETTERS[usize::from(byte % 64)] as char));
    Credentials { access_key_id, secret_access_key: secret }
}

fn one_of(variable: &impl Fn(&str) -> Option<String>, name: &str) -> Result<Option<Zeroizing<String>>> {
    let file_name = format!("{name}_FILE");
    match (variable(name).map(Zeroizing::new), variable(&file_name)) {
        (Some(_), Some(_)) => Err(Error::usage(format!("both {name} and {file_name} are set: unset one"))),
        (Some(value), None) => Ok(Some(value)),
        (None, Some(path)) => {
            // Orchestrators mount secrets with modes of their own choosing, so the mode is not checked.
            let text = files::read_secret_text(Path::new(&path), Secrecy::Public)?;
            Ok(Some(Zeroizing::new(text.trim_end_matches(['\n', '\r']).to_owned())))
        }
        (None, None) => Ok(None),
    }
}

fn unpaired(set: &str, unset: &str) -> Error {
    Error::usage(format!("{set} is set but {unset} is not: set both"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup<'a>(pairs: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        move |name| pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1.to_owned())
    }

    #[test]
    fn the_environment_gives_both_or_none() {
        assert!(from_environment(lookup(&[])).unwrap().is_none());
        let both =
            from_environment(lookup(&[(ACCESS_KEY_ID, "key"), (SECRET_ACCESS_KEY, "12345678")])).unwrap();
        assert_eq!(both.unwrap().access_key_id, "key");
        let half = from_environment(lookup(&[(ACCESS_KEY_ID, "key")])).unwrap_err().to_string();
        assert!(half.contains(SECRET_ACCESS_KEY), "{half}");
    }

    #[test]
    fn a_file_stands_for_a_variable_and_both_at_once_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, "a-secret-of-mine\n").unwrap();
        let path = path.to_str().unwrap();
        let pairs = [(ACCESS_KEY_ID, "key"), ("HAMSTER_SECRET_ACCESS_KEY_FILE", path)];
        let read = from_environment(lookup(&pairs)).unwrap().unwrap();
        assert_eq!(read.secret_access_key.as_str(), "a-secret-of-mine");
        let twice = [(SECRET_ACCESS_KEY, "12345678"), ("HAMSTER_SECRET_ACCESS_KEY_FILE", path)];
        assert!(from_environment(lookup(&twice)).is_err());
    }

    #[test]
    fn bad_values_are_refused_without_showing_them() {
        let error = Credentials::new("key", Zeroizing::new("short".into())).unwrap_err().to_string();
        assert!(!error.contains("short"), "{error}");
        assert!(Credentials::new("k y", Zeroizing::new("12345678".into())).is_err());
    }

    #[test]
    fn quickstart_makes_a_credential_once_and_debug_hides_the_secret() {
        let dir = tempfile::tempdir().unwrap();
        let first = quickstart(dir.path()).unwrap();
        let second = quickstart(dir.path()).unwrap();
        assert_eq!(first.access_key_id, second.access_key_id);
        assert_eq!(first.secret_access_key, second.secret_access_key);
        assert_eq!((first.access_key_id.len(), first.secret_access_key.len()), (20, 40));
        assert!(!format!("{first:?}").contains(first.secret_access_key.as_str()));
        let path = dir.path().join(QUICKSTART_FILE);
        assert!(files::read(&path, Secrecy::Secret).is_ok());
    }

    /// Rows of the table in `data_dir.rs`.
    #[test]
    fn a_quickstart_file_is_made_when_missing_and_refused_when_damaged() {
        let first = "HAMSTER_ACCESS_KEY_ID=AKEY\n";
        let cases: &[(&str, &str, Option<String>, bool)] = &[
            ("D14: no `quickstart.env`", QUICKSTART_FILE, None, true),
            ("D15: `quickstart.env.new`", "quickstart.env.new", Some("HAMSTER_ACC".to_owned()), true),
            ("D16: `quickstart.env`, empty", QUICKSTART_FILE, Some(String::new()), false),
            ("cut after a line", QUICKSTART_FILE, Some(first.to_owned()), false),
            (
                "cut in the secret",
                QUICKSTART_FILE,
                Some(format!("{first}HAMSTER_SECRET_ACCESS_KEY=abc")),
                false,
            ),
            ("changed", QUICKSTART_FILE, Some("H\u{0}MSTER_ACCESS_KEY_ID=AKEY".to_owned()), false),
        ];
        for (row, name, text, made) in cases {
            let dir = tempfile::tempdir().unwrap();
            if let Some(text) = text {
                files::create_secret(&dir.path().join(name), text.as_bytes()).unwrap();
            }
            match quickstart(dir.path()) {
                Ok(credentials) => {
                    assert!(*made, "{row}");
                    let again = quickstart(dir.path()).unwrap();
                    assert_eq!(credentials.secret_access_key, again.secret_access_key, "{row}");
                }
                Err(error) => {
                    let line = error.to_string();
                    let words = ["quickstart.env", "remove it to make a new credential"];
                    assert!(!made && words.iter().all(|word| line.contains(word)), "{row}: {line}");
                    assert_eq!(error.exit_code(), 3, "{row}");
                }
            }
        }
    }
}
