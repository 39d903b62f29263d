use super::*;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

fn founding() -> Founding {
    Founding {
        listen: "127.0.0.1:7946".parse().unwrap(),
        cluster_name: "c".into(),
        node_name: "n".into(),
        host: "h".into(),
        zone: "z".into(),
        capacity_bytes: Some(5),
    }
}

fn found_in(path: &Path) -> Result<NodeRecord> {
    init(&DataDir::lock(path)?, &founding())
}

#[test]
fn init_writes_an_identity_that_loads_and_that_only_its_owner_reads() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let made = found_in(&data).unwrap();
    let loaded = load(&data).unwrap();
    assert_eq!(loaded.record, made);
    assert_ne!(made.cluster, made.node);
    assert_eq!(fs::metadata(folder(&data)).unwrap().mode() & 0o777, 0o700);
    for name in [CA_CERTIFICATE, CA_KEY, NODE_CERTIFICATE, NODE_KEY, NODE] {
        assert_eq!(fs::metadata(folder(&data).join(name)).unwrap().mode() & 0o777, 0o600, "{name}");
    }
    let shown = format!("{loaded:?}");
    assert!(!shown.contains("PRIVATE KEY"), "{shown}");
}

/// A data directory with an identity whose folder was then changed.
fn changed(change: impl FnOnce(&Path)) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    found_in(dir.path()).unwrap();
    change(&folder(dir.path()));
    dir
}

#[track_caller]
fn refused<T>(row: &str, result: Result<T>, words: &[&str]) {
    let line = result.err().unwrap_or_else(|| panic!("{row}: not refused")).to_string();
    assert!(words.iter().all(|word| line.contains(word)) && !line.contains('\n'), "{row}: {line}");
}

#[test]
fn a_crash_of_init_leaves_no_node_and_init_starts_afresh() {
    for files in 0..=FILES.len() {
        let row = if files == 0 {
            "I1: nothing".to_owned()
        } else {
            format!("I2: {files} files of `identity.new`")
        };
        let dir = tempfile::tempdir().unwrap();
        let fresh = dir.path().join("identity.new");
        if files > 0 {
            fs::create_dir(&fresh).unwrap();
        }
        for name in &FILES[..files] {
            fs::write(fresh.join(name), "half").unwrap();
        }
        assert!(!exists(dir.path()), "{row}");
        refused(&row, load(dir.path()), &["hamster init"]);
        let made = found_in(dir.path()).unwrap();
        assert_eq!(load(dir.path()).unwrap().record, made, "{row}");
        assert!(!fresh.exists(), "{row}");
    }
}

#[test]
fn a_whole_identity_is_loaded_whatever_lies_beside_it() {
    for row in ["I3: whole", "I4: with an `identity.new`"] {
        let dir = changed(|folder| {
            if row.starts_with("I4") {
                fs::create_dir(folder.with_extension("new")).unwrap();
            }
        });
        let record = load(dir.path()).unwrap().record;
        refused(row, found_in(dir.path()), &["already holds a node", "hamster serve"]);
        assert_eq!(load(dir.path()).unwrap().record, record, "{row}");
    }
}

/// `init` and `quickstart` used to found a new node over the data of a node whose identity was lost.
#[test]
fn a_lost_identity_is_not_replaced_over_its_data() {
    for name in ["cores", "raft", "meta", "core-00"] {
        let row = format!("{}identity lost beside {name}", if name == "cores" { "I5: " } else { "" });
        let dir = changed(|folder| fs::remove_dir_all(folder).unwrap());
        fs::create_dir(dir.path().join(name)).unwrap();
        refused(&row, load(dir.path()), &["identity is gone", "restore it"]);
        refused(&row, found_in(dir.path()), &["identity is gone", "another --data-dir"]);
        assert!(!exists(dir.path()), "{row}");
    }
}

#[test]
fn a_damaged_identity_is_refused_by_the_name_of_its_file() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 4] = [
        ("I6: missing", |path| fs::remove_file(path).unwrap()),
        ("I7: empty", |path| fs::write(path, "").unwrap()),
        ("cut", |path| {
            let bytes = fs::read(path).unwrap();
            fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("changed", |path| {
            let mut bytes = fs::read(path).unwrap();
            // Within the body of a PEM text or record: another letter, not another line.
            let at = bytes.len() / 2;
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            fs::write(path, bytes).unwrap();
        }),
    ];
    for name in FILES {
        for (row, change) in changes {
            let dir = changed(|folder| change(&folder.join(name)));
            let word = if row == "changed" { "identity/" } else { name };
            refused(&format!("{row}: {name}"), load(dir.path()), &[word, "restore it from a backup"]);
            refused(&format!("{row}: {name}"), found_in(dir.path()), &["already holds a node"]);
        }
    }
}

#[test]
fn files_of_two_nodes_are_refused() {
    for name in FILES {
        let row = format!("{}{name}", if name == NODE { "I8: " } else { "" });
        let other = changed(|_| {});
        let dir = changed(|mine| {
            fs::copy(folder(other.path()).join(name), mine.join(name)).unwrap();
        });
        refused(&row, load(dir.path()), &["identity/", "restore it from a backup"]);
    }
}

#[test]
fn an_identity_open_to_others_or_not_a_folder_is_refused() {
    for name in [CA_KEY, NODE_KEY, NODE] {
        let row = format!("{}{name}", if name == NODE { "I9: " } else { "" });
        let dir = changed(|folder| {
            fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o640)).unwrap()
        });
        refused(&row, load(dir.path()), &[name, "chmod 600"]);
    }
    let dir = changed(|folder| {
        fs::remove_dir_all(folder).unwrap();
        fs::write(folder, "").unwrap();
    });
    refused("I10: no folder", load(dir.path()), &["is not a folder", "move it away"]);
}

#[test]
fn the_node_record_on_disk_stays_what_it_was() {
    let record = NodeRecord {
        cluster: vec![1; 16],
        node: vec![2; 16],
        cluster_name: "c".into(),
        node_name: "n".into(),
        listen: "127.0.0.1:7946".into(),
        host: "h".into(),
        zone: "z".into(),
        capacity_bytes: 300,
        created_unix_ms: 1,
    };
    let golden = concat!(
        "484d53526e6f64650100000045000000",
        "CRCCRCCR",
        "0a1001010101010101010101010101010101",
        "121002020202020202020202020202020202",
        "1a0163",
        "22016e",
        "2a0e3132372e302e302e313a37393436",
        "320168",
        "3a017a",
        "40ac02",
        "4801"
    );
    let bytes = record::encode(NODE_RECORD, &record);
    let crc = hex::encode(&bytes[16..20]);
    assert_eq!(hex::encode(&bytes), golden.replace("CRCCRCCR", &crc));
    assert_eq!(record::decode::<NodeRecord>(NODE_RECORD, &bytes, Path::new("node")).unwrap(), record);
}
