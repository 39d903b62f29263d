use super::*;
use proptest::prelude::*;

fn id(byte: u8) -> Bytes16 {
    [byte; 16].into()
}

fn hex_of(row: &[u8]) -> String {
    hex::encode(row)
}

#[test]
fn the_bytes_of_row_keys_are_frozen() {
    let name = Name::new("b", "k/ü").unwrap();
    assert_eq!(APPLIED, b"sapplied");
    assert_eq!(bucket("b").unwrap(), b"bb\0");
    assert_eq!(name.current(), "cb\0k/ü\0".as_bytes());
    assert_eq!(hex_of(&name.version(id(0x0f))), format!("7662006b2fc3bc00{}", "f0".repeat(16)));
    assert_eq!(hex_of(&name.upload(id(0x0f))), format!("7562006b2fc3bc00{}", "0f".repeat(16)));
    assert_eq!(hex_of(&name.part(id(0x0f), 258)), format!("7562006b2fc3bc00{}0102", "0f".repeat(16)));
    assert_eq!(hex_of(&reclaim(id(3))), format!("67{}", "03".repeat(16)));
    assert_eq!(credential("AK"), b"kAK");
}

#[test]
fn row_keys_decode_as_they_were_encoded() {
    let name = Name::new("b", "k\u{1}").unwrap();
    assert_eq!(decode(APPLIED), Ok(RowKey::Cluster(b"applied")));
    assert_eq!(decode(&bucket("b").unwrap()), Ok(RowKey::Bucket("b")));
    assert_eq!(decode(&name.current()), Ok(RowKey::Current(name)));
    assert_eq!(decode(&name.version(id(0))), Ok(RowKey::Version(name, id(0))));
    assert_eq!(decode(&name.upload(id(0))), Ok(RowKey::Upload(name, id(0))));
    assert_eq!(decode(&name.part(id(0), 9)), Ok(RowKey::Part(name, id(0), 9)));
    assert_eq!(decode(&reclaim(id(0))), Ok(RowKey::Reclaim(id(0))));
    assert_eq!(decode(&credential("AK")), Ok(RowKey::Credential(b"AK")));
    for wrong in
        [&b""[..], b"x", b"b", b"bb", b"b\0", b"bb\0x", b"cb\0k", b"cb\0\0", b"vb\0k\0short", b"c\xff\0k\0"]
    {
        assert!(decode(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn names_that_cannot_be_in_row_keys_are_refused() {
    for (bucket, key) in [("", "k"), ("b", ""), ("b\0", "k"), ("b", "k\0"), ("b", "\0")] {
        assert!(matches!(Name::new(bucket, key), Err(Error::InvalidName(_))), "{bucket:?} {key:?}");
    }
    assert!(Name::new("b", &"k".repeat(MAX_KEY_BYTES)).is_ok());
    assert!(Name::new("b", &"k".repeat(MAX_KEY_BYTES + 1)).is_err());
    assert!(Name::new(&"b".repeat(MAX_BUCKET_BYTES + 1), "k").is_err());
    assert!(super::bucket("").is_err());
}

#[test]
fn a_range_ends_after_all_keys_with_its_prefix() {
    assert_eq!(prefix_end(b"ab"), b"ac");
    assert_eq!(prefix_end(b"a\xff\xff"), b"b");
    assert_eq!(prefix_end(b"cb\0"), b"cb\x01");
}

proptest! {
    #[test]
    fn rows_sort_in_the_order_of_s3_listings(
        names in prop::collection::vec(("[ab]{1,2}", "[\u{1}/aü\u{10ffff}]{1,4}", any::<[u8; 16]>(), any::<u16>()), 2..20),
    ) {
        let mut names = names;
        names.sort();
        for pair in names.windows(2) {
            let [(b1, k1, i1, n1), (b2, k2, i2, n2)] = pair else { unreachable!() };
            let (one, two) = (Name::new(b1, k1).unwrap(), Name::new(b2, k2).unwrap());
            let (i1, i2) = (Bytes16::from(*i1), Bytes16::from(*i2));
            prop_assert_eq!(one.current().cmp(&two.current()), (b1, k1).cmp(&(b2, k2)));
            prop_assert_eq!(one.version(i1).cmp(&two.version(i2)), (b1, k1, i2).cmp(&(b2, k2, i1)));
            prop_assert_eq!(one.upload(i1).cmp(&two.upload(i2)), (b1, k1, i1).cmp(&(b2, k2, i2)));
            prop_assert_eq!(one.part(i1, *n1).cmp(&two.part(i2, *n2)), (b1, k1, i1, n1).cmp(&(b2, k2, i2, n2)));
        }
    }

    #[test]
    fn a_prefix_range_holds_exactly_the_keys_with_that_prefix(prefix in prop::collection::vec(any::<u8>(), 0..4), other in prop::collection::vec(any::<u8>(), 0..6)) {
        let prefix = [b"v", prefix.as_slice()].concat();
        let other = [b"v", other.as_slice()].concat();
        let inside = other >= prefix && other < prefix_end(&prefix);
        prop_assert_eq!(inside, other.starts_with(&prefix));
    }

    #[test]
    fn no_bytes_make_decoding_panic(row in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = decode(&row);
    }
}
