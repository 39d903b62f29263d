//! What the project is built from, read from `Cargo.lock` and the crates' manifests without a network: everything
//! comes from crates.io with a checksum, crates that touch keys or parse untrusted bytes exist in one version, and
//! licences are of a known kind. Known vulnerabilities are left to `cargo audit`, which needs its database (see
//! tests/run).

use std::collections::BTreeMap;
use std::process::Command;

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Crates that hold keys, check signatures or parse untrusted bytes. With two versions of one, a fix to the version
/// that is looked at would leave the other in use.
const ONCE: [&str; 25] = [
    "base64",
    "clap",
    "fjall",
    "futures-rustls",
    "hex",
    "hmac",
    "httparse",
    "jiff",
    "md-5",
    "openraft",
    "percent-encoding",
    "prost",
    "quick-xml",
    "rcgen",
    "ring",
    "rustix",
    "rustls",
    "rustls-pki-types",
    "rustls-webpki",
    "serde_json",
    "sha1",
    "subtle",
    "untrusted",
    "x509-parser",
    "zeroize",
];

/// Old versions that other crates still use, and which crates; our own code must not.
const OLD: [(&str, &str, &[&str]); 6] = [
    // Names of quorum trees inside of the consensus library.
    ("sha2", "0.10", &["quorum-set"]),
    // The trait that CRCs implement.
    ("digest", "0.10", &["crc-fast", "sha2"]),
    // The system's random bytes: for the keys that ring makes, and for seeds of tables and channels under glommio.
    ("getrandom", "0.2", &["ring", "ahash", "nanorand"]),
    // Perfect hashes of time zone names, made when the consensus library is built.
    ("rand", "0.8", &["phf_generator"]),
    ("rand_core", "0.6", &["rand"]),
    ("crypto-common", "0.1", &["digest"]),
];

/// Licences that are compatible with Apache-2.0 in a distributed binary.
const LICENCES: [&str; 12] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Licences that allow a distributed binary as long as the file that they cover is unchanged, and whose they are.
const UNCHANGED: [(&str, &str); 1] = [
    // Bit sets under glommio, so not in a binary unless it is built with that feature.
    ("bitmaps", "MPL-2.0+"),
];

/// A package of a lock file.
#[derive(Debug, Default, PartialEq, Eq)]
struct Package {
    name: String,
    version: String,
    source: Option<String>,
    checksum: Option<String>,
    /// `name`, or `name version` if there are several versions.
    dependencies: Vec<String>,
}

fn packages(lock: &str) -> Vec<Package> {
    let mut found = Vec::new();
    for block in lock.split("[[package]]\n").skip(1) {
        let mut package = Package::default();
        for line in block.lines() {
            let text = |value: &str| value.trim_matches('"').to_owned();
            match line.split_once(" = ") {
                Some(("name", value)) => package.name = text(value),
                Some(("version", value)) => package.version = text(value),
                Some(("source", value)) => package.source = Some(text(value)),
                Some(("checksum", value)) => package.checksum = Some(text(value)),
                Some(_) => {}
                None if line.starts_with(" \"") => {
                    package.dependencies.push(line.trim_matches([' ', '"', ',']).to_owned());
                }
                None => {}
            }
        }
        found.push(package);
    }
    found
}

/// Packages from elsewhere than this repository or crates.io, and packages without a checksum.
fn strange_sources(packages: &[Package]) -> Vec<String> {
    let fine = |package: &&Package| match (&package.source, &package.checksum) {
        (None, None) => package.name == "hamster" || package.name.starts_with("hamster-"),
        (Some(source), Some(checksum)) => {
            source == CRATES_IO && checksum.len() == 64 && checksum.bytes().all(|b| b.is_ascii_hexdigit())
        }
        _ => false,
    };
    packages
        .iter()
        .filter(|package| !fine(package))
        .map(|p| format!("{} {}: {:?}", p.name, p.version, p.source))
        .collect()
}

/// Watched crates that exist in several versions, are missing, or are used in an old version by more crates than
/// known.
fn doubles(packages: &[Package]) -> Vec<String> {
    let mut found = Vec::new();
    let of = |name: &str| {
        packages.iter().filter(|p| p.name == name).map(|p| p.version.as_str()).collect::<Vec<_>>()
    };
    for name in ONCE {
        let versions = of(name);
        if versions.len() != 1 {
            found.push(format!("{name} exists as {versions:?}, expected one version"));
        }
    }
    for (name, old, users) in OLD {
        for version in of(name) {
            let is_old = version.starts_with(&format!("{old}."));
            let exact = format!("{name} {version}");
            let used = packages.iter().filter(|p| p.dependencies.contains(&exact));
            let strangers: Vec<&str> =
                used.map(|p| p.name.as_str()).filter(|user| is_old && !users.contains(user)).collect();
            if !strangers.is_empty() {
                found.push(format!("{exact} is also used by {strangers:?}"));
            }
        }
        let new = of(name).into_iter().filter(|version| !version.starts_with(&format!("{old}."))).count();
        if new > 1 {
            found.push(format!("{name} exists as {:?}", of(name)));
        }
    }
    found
}

/// Whether licences of the list alone satisfy an SPDX expression. A slash is how older manifests write OR.
fn is_allowed(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let allowed = any(&words, &mut at);
    allowed && at == words.len()
}

/// `all { OR all }`.
fn any(words: &[&str], at: &mut usize) -> bool {
    let mut allowed = all(words, at);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        allowed |= all(words, at);
    }
    allowed
}

/// `one { AND one }`.
fn all(words: &[&str], at: &mut usize) -> bool {
    let mut allowed = one(words, at);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        allowed &= one(words, at);
    }
    allowed
}

/// A licence, with its exception, or an expression in parentheses.
fn one(words: &[&str], at: &mut usize) -> bool {
    let Some(&first) = words.get(*at) else { return false };
    *at += 1;
    if first == "(" {
        let allowed = any(words, at);
        *at += 1;
        return allowed && words.get(*at - 1) == Some(&")");
    }
    let mut name = first.to_owned();
    if let (Some(&"WITH"), Some(exception)) = (words.get(*at), words.get(*at + 1)) {
        name = format!("{name} WITH {exception}");
        *at += 2;
    }
    LICENCES.contains(&name.as_str())
}

fn lock() -> Vec<Package> {
    let packages =
        packages(&std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock")).unwrap());
    assert!(packages.len() > 50, "Cargo.lock was not understood");
    packages
}

#[test]
fn every_package_comes_from_crates_io_with_a_checksum() {
    assert_eq!(strange_sources(&lock()), Vec::<String>::new());
}

#[test]
fn crates_that_touch_keys_or_untrusted_bytes_exist_once() {
    assert_eq!(doubles(&lock()), Vec::<String>::new());
}

#[test]
fn every_licence_is_of_a_known_kind() {
    let libc = if cfg!(target_env = "musl") { "musl" } else { "gnu" };
    let platform = format!("{}-unknown-linux-{libc}", std::env::consts::ARCH);
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--all-features"])
        .args(["--filter-platform", &platform])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut licences = BTreeMap::new();
    for package in metadata["packages"].as_array().unwrap() {
        licences
            .insert(package["name"].as_str().unwrap(), package["license"].as_str().unwrap_or("none given"));
    }
    assert!(licences.len() > 50 && licences["hamster"] == "Apache-2.0", "{licences:?}");
    licences.retain(|name, licence| !is_allowed(licence) && !UNCHANGED.contains(&(name, licence)));
    assert!(licences.is_empty(), "not allowed: {licences:?}");
}

/// The detectors themselves.
mod detectors {
    use super::*;

    fn lock(extra: &str) -> Vec<Package> {
        let sum = "a".repeat(64);
        let one = |name: &str, version: &str| {
            format!(
                "[[package]]\nname = \"{name}\"\nversion = \"{version}\"\nsource = \"{CRATES_IO}\"\nchecksum = \"{sum}\"\n\n"
            )
        };
        let mut text = ONCE.map(|name| one(name, "1.0.0")).concat();
        text += &one("sha2", "0.11.1");
        packages(&format!("version = 4\n\n{text}{extra}"))
    }

    #[test]
    fn read_a_lock_file() {
        let found = packages(
            "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.2.3\"\ndependencies = [\n \"b\",\n \"c 0.1.0\",\n]\n",
        );
        let dependencies = vec!["b".to_owned(), "c 0.1.0".to_owned()];
        let want = Package { name: "a".into(), version: "1.2.3".into(), dependencies, ..Package::default() };
        assert_eq!(found, [want]);
    }

    #[test]
    fn see_packages_from_elsewhere() {
        let package = |name: &str, lines: &str| {
            format!("[[package]]\nname = \"{name}\"\nversion = \"1.0.0\"\n{lines}\n")
        };
        assert_eq!(strange_sources(&lock(&package("hamster-s3", ""))).len(), 0);
        let source = |source: &str, sum: &str| format!("source = \"{source}\"\nchecksum = \"{sum}\"\n");
        for extra in [
            package("stranger", ""),
            package("a", &format!("source = \"{CRATES_IO}\"\n")),
            package("a", &source(CRATES_IO, "abc")),
            package("a", &source("registry+https://example.com/index", &"a".repeat(64))),
            package("a", "source = \"git+https://example.com/a?rev=1#1\"\n"),
        ] {
            assert_eq!(strange_sources(&lock(&extra)).len(), 1, "{extra}");
        }
    }

    #[test]
    fn see_doubles_of_watched_crates() {
        let package = |name: &str, version: &str, dependency: &str| {
            format!(
                "[[package]]\nname = \"{name}\"\nversion = \"{version}\"\ndependencies = [\n \"{dependency}\",\n]\n\n"
            )
        };
        assert_eq!(doubles(&lock("")), Vec::<String>::new());
        assert_eq!(doubles(&lock(&package("rustls", "0.22.0", "x"))).len(), 1);
        let old = package("sha2", "0.10.9", "digest 0.10.7");
        assert_eq!(
            doubles(&lock(&format!("{old}{}", package("quorum-set", "1.0.0", "sha2 0.10.9")))).len(),
            0
        );
        assert_eq!(
            doubles(&lock(&format!("{old}{}", package("hamster-s3", "1.0.0", "sha2 0.10.9")))).len(),
            1
        );
        assert_eq!(doubles(&lock(&package("sha2", "0.12.0", "x"))).len(), 1);
        assert_eq!(
            doubles(&lock("")[1..]).len(),
            1,
            "a watched crate that is gone must be taken off the list"
        );
    }

    #[test]
    fn read_licence_expressions() {
        for good in [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-2.0-only OR MIT",
            "Apache-2.0 WITH LLVM-exception",
            "(MIT OR GPL-3.0) AND Unicode-3.0",
        ] {
            assert!(is_allowed(good), "{good}");
        }
        for bad in [
            "",
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "(MIT OR ISC) AND GPL-3.0",
            "MIT WITH x",
            "(MIT",
            "MIT)",
            "MIT ISC",
            "none given",
        ] {
            assert!(!is_allowed(bad), "{bad}");
        }
    }
}
