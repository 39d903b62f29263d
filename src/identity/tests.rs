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

#[test]
fn init_twice_is_refused_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let made = found_in(dir.path()).unwrap();
    let message = found_in(dir.path()).unwrap_err().to_string();
    assert!(message.contains("already holds a node") && message.contains("hamster serve"), "{message}");
    assert_eq!(load(dir.path()).unwrap().record, made);
}

#[test]
fn a_crash_before_the_rename_leaves_no_node_and_init_starts_afresh() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("identity.new")).unwrap();
    fs::write(dir.path().join("identity.new").join(CA_KEY), "half").unwrap();
    assert!(!exists(dir.path()));
    assert!(load(dir.path()).unwrap_err().to_string().contains("hamster init"));
    found_in(dir.path()).unwrap();
    load(dir.path()).unwrap();
    assert!(!dir.path().join("identity.new").exists());
}

#[test]
fn a_missing_open_or_damaged_file_is_refused_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    found_in(dir.path()).unwrap();
    let key = folder(dir.path()).join(NODE_KEY);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(load(dir.path()).unwrap_err().to_string().contains("chmod 600"));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();

    let node = folder(dir.path()).join(NODE);
    let mut bytes = fs::read(&node).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&node, &bytes).unwrap();
    assert!(load(dir.path()).unwrap_err().to_string().contains("damaged"));
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&node, &bytes).unwrap();

    fs::remove_file(folder(dir.path()).join(NODE_CERTIFICATE)).unwrap();
    assert!(load(dir.path()).unwrap_err().to_string().contains("node.pem"));
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
