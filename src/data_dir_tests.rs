//! A case for each row of the table in `data_dir.rs` (those of `quickstart.env` are in `credentials.rs`).

use super::*;
use std::fs;

#[test]
fn a_second_process_learns_which_one_holds_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let held = DataDir::lock(dir.path()).unwrap();
    let message = DataDir::lock(dir.path()).unwrap_err().to_string();
    assert!(message.contains(&format!("process {}", std::process::id())), "{message}");
    drop(held);
    DataDir::lock(dir.path()).unwrap();
}

#[test]
fn the_number_of_cores_is_fixed_at_the_first_serve() {
    let dir = tempfile::tempdir().unwrap();
    let data = DataDir::lock(dir.path()).unwrap();
    assert_eq!(data.cores(Some(2)).unwrap(), 2);
    assert_eq!(data.cores(Some(3)).unwrap(), 3, "a refused start leaves the choice open");
    data.fix_cores(3).unwrap();
    assert_eq!(data.cores(None).unwrap(), 3);
    let message = data.cores(Some(4)).unwrap_err().to_string();
    assert!(message.contains("--cores 3"), "{message}");
}

#[test]
fn without_a_choice_there_is_a_core_per_cpu() {
    let dir = tempfile::tempdir().unwrap();
    let cores = DataDir::lock(dir.path()).unwrap().cores(None).unwrap();
    assert_eq!(usize::from(cores), std::thread::available_parallelism().unwrap().get());
}

#[test]
fn addresses_are_read_back_by_another_command() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(addresses(dir.path()).unwrap(), None);
    let data = DataDir::lock(dir.path()).unwrap();
    let noted =
        Addresses { s3: vec![], listen: "127.0.0.1:1".parse().unwrap(), admin: "[::1]:2".parse().unwrap() };
    data.note_addresses(&noted).unwrap();
    assert_eq!(addresses(dir.path()).unwrap(), Some(noted));
}

#[test]
fn addresses_that_an_older_node_noted_are_read() {
    let dir = tempfile::tempdir().unwrap();
    for (s3, read) in [
        ("null", &[][..]),
        ("\"[::1]:9\"", &["[::1]:9"]),
        ("[\"[::1]:9\",\"1.2.3.4:5\"]", &["[::1]:9", "1.2.3.4:5"]),
    ] {
        let text = format!("{{\"s3\":{s3},\"listen\":\"127.0.0.1:1\",\"admin\":\"127.0.0.1:2\"}}");
        files::replace_secret(&dir.path().join("addresses"), text.as_bytes()).unwrap();
        let shown: Vec<_> =
            addresses(dir.path()).unwrap().unwrap().s3.iter().map(SocketAddr::to_string).collect();
        assert_eq!(shown, read);
    }
}

/// A file or folder of a data directory, and what is in it.
type Entry<'a> = (&'a str, &'a [u8]);

/// A data directory with these folders (names that end with a slash), and files with these bytes.
fn directory(entries: &[Entry<'_>]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in entries {
        let path = dir.path().join(name);
        if name.ends_with('/') {
            fs::create_dir(path).unwrap();
        } else {
            files::create_secret(&path, bytes).unwrap();
        }
    }
    dir
}

fn record_of(cores: u32) -> Vec<u8> {
    record::encode(CORES_RECORD, &CoresRecord { cores })
}

/// The number of cores of a start with or without `--cores`, or words of its refusal.
type Cores = std::result::Result<u16, &'static [&'static str]>;
type Case<'a> = (&'a str, &'a [Entry<'a>], Option<u16>, Cores);

#[test]
fn the_number_of_cores_is_never_guessed_if_there_is_data() {
    let two = record_of(2);
    let mut changed = two.clone();
    *changed.last_mut().unwrap() ^= 1;
    let restore: &[&str] = &["cores", "restore it from a backup"];
    let cases: &[Case<'_>] = &[
        ("D2: no `cores` and no data", &[], Some(3), Ok(3)),
        (
            "D3: no `cores`, but folders",
            &[("core-00/", b""), ("core-01/", b"")],
            None,
            Err(&["missing", "--cores 2"]),
        ),
        (
            "and another number asked for",
            &[("core-00/", b""), ("core-01/", b"")],
            Some(3),
            Err(&["--cores 2"]),
        ),
        ("and theirs asked for", &[("core-00/", b""), ("core-01/", b"")], Some(2), Ok(2)),
        ("and one of them gone", &[("core-01/", b"")], Some(1), Err(&["missing", "restore it"])),
        (
            "and none left beside the log",
            &[("raft/", b""), ("raft/0000000000000001.wal", b"x")],
            Some(2),
            Err(&["missing", "restore it"]),
        ),
        ("D4: `cores`, empty", &[("cores", b"")], None, Err(restore)),
        ("cut", &[("cores", &two[..two.len() - 1])], Some(2), Err(restore)),
        ("changed", &[("cores", &changed)], Some(2), Err(restore)),
        ("of no core", &[("cores", &record_of(0))], None, Err(restore)),
        ("D5: `cores.new` alone", &[("cores.new", &two[..5])], Some(3), Ok(3)),
        ("beside", &[("cores", &two), ("cores.new", b"junk")], None, Ok(2)),
        ("D6: no folder yet", &[("cores", &two)], None, Ok(2)),
        ("not all folders yet", &[("cores", &two), ("core-00/", b""), ("raft/", b"")], None, Ok(2)),
        (
            "D7: a folder is missing",
            &[("cores", &two), ("core-00/", b""), ("raft/", b""), ("raft/0000000000000001.wal", b"x")],
            None,
            Err(&["core-01", "missing", "restore it"]),
        ),
        (
            "D8: a folder beyond the number",
            &[("cores", &two), ("core-00/", b""), ("core-01/", b""), ("core-02/", b"")],
            None,
            Err(&["core-02", "cores says 2", "restore"]),
        ),
    ];
    for (row, entries, asked, wanted) in cases {
        let dir = directory(entries);
        match (DataDir::lock(dir.path()).unwrap().cores(*asked), wanted) {
            (Ok(cores), Ok(wanted)) => assert_eq!(cores, *wanted, "{row}"),
            (Err(error), Err(words)) => {
                let line = error.to_string();
                assert!(words.iter().all(|word| line.contains(word)), "{row}: {line}");
            }
            (other, _) => panic!("{row}: {other:?}"),
        }
    }
}

#[test]
fn remains_of_small_files_stop_no_start() {
    let noted =
        Addresses { s3: vec![], listen: "127.0.0.1:1".parse().unwrap(), admin: "[::1]:2".parse().unwrap() };
    let text = serde_json::to_vec_pretty(&noted).unwrap();
    let cases: &[(&str, &[Entry<'_>], bool)] = &[
        ("D1: `lock`, empty", &[("lock", b"")], false),
        ("of a process that is gone", &[("lock", b"4194999\n")], false),
        ("with something else in it", &[("lock", &[0xff; 5000])], false),
        ("D9: `addresses`, empty", &[("addresses", b"")], true),
        ("cut", &[("addresses", &text[..text.len() / 2])], true),
        ("D10: `addresses.new`", &[("addresses.new", b"{")], false),
    ];
    for (row, entries, damaged) in cases {
        let dir = directory(entries);
        match addresses(dir.path()) {
            Err(error) => {
                assert!(*damaged && error.to_string().contains("restart `hamster serve`"), "{row}: {error}")
            }
            Ok(found) => assert!(!damaged && found.is_none(), "{row}"),
        }
        let data = DataDir::lock(dir.path()).unwrap();
        data.fix_cores(1).unwrap();
        data.note_addresses(&noted).unwrap();
        assert_eq!(addresses(dir.path()).unwrap().as_ref(), Some(&noted), "{row}");
        assert!(DataDir::lock(dir.path()).is_err(), "{row}: locked");
        let left: Vec<String> = names(dir.path()).unwrap();
        assert!(!left.iter().any(|name| name.ends_with(".new")), "{row}: {left:?}");
    }
}

#[test]
fn only_the_mark_of_a_clean_shutdown_skips_the_sweep() {
    let cases: &[(&str, &[Entry<'_>], bool)] = &[
        ("D11: `clean`", &[("clean", b"")], true),
        ("D12: no `clean`", &[], false),
        ("D13: `clean.new`", &[("clean.new", b"")], false),
    ];
    for (row, entries, clean) in cases {
        let dir = directory(entries);
        let data = DataDir::lock(dir.path()).unwrap();
        assert_eq!(data.take_clean_mark().unwrap(), *clean, "{row}");
        assert!(!data.take_clean_mark().unwrap(), "{row}: it counts once");
        data.leave_clean_mark().unwrap();
        assert!(data.take_clean_mark().unwrap(), "{row}");
    }
}

#[test]
fn existing_data_is_detected() {
    for name in ["cores", "raft/", "meta/", "core-00/"] {
        assert!(holds_data(directory(&[(name, b"")]).path()).unwrap(), "{name}");
    }
    let bare: &[Entry<'_>] = &[("lock", b""), ("lost+found/", b""), ("identity.new/", b""), ("core-x/", b"")];
    assert!(!holds_data(directory(bare).path()).unwrap());
    assert!(!holds_data(&directory(&[]).path().join("none")).unwrap());
}
