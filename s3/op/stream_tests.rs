//! Objects of more parts than the window, against a whole node.

use std::rc::Rc;

use engine::hash;
use engine::io::unix_ms;
use engine::limits::SMALL_BLOB_BYTES;
use engine::write::{BlobWriter, Finished};
use raft::command::{Kind, PutVersion};
use raft::record::VersionKind;

use super::*;
use crate::service::Service;
use crate::test_support::{Client, on_a_node};

const PARTS: usize = 2 * WINDOW + 20;
/// The least that is stored as an extent.
const PART_BYTES: usize = SMALL_BLOB_BYTES + 1;
const PARTITION: u16 = 7;

fn content(part: usize) -> Vec<u8> {
    vec![b'0' + (part % 10) as u8; PART_BYTES]
}

async fn stored(service: Rc<Service>, part: usize) -> BlobRef {
    let (bytes, holder) = (&service.bytes, service.bytes.budget().holder());
    let (id, profile) = (service.new_data_id(unix_ms()), Profile::for_nodes(1));
    let (size, plan) = (Some(PART_BYTES as u64), hash::Plan::default());
    let mut writer = BlobWriter::new(bytes, &holder, PARTITION, id, profile, size, plan).unwrap();
    let content = content(part);
    while writer.received() < size.unwrap() {
        let from = writer.received() as usize;
        let space = writer.space().await.unwrap();
        let count = space.len();
        space.copy_from_slice(&content[from..from + count]);
        writer.advance(count).await.unwrap();
    }
    let (finished, _) = writer.finish().await.unwrap();
    let Finished::Stored(stored) = finished else { panic!("the blob is large") };
    stored.keep();
    BlobRef {
        data_id: id.0.into(),
        size: PART_BYTES as u64,
        partition: PARTITION.into(),
        k: 1,
        part_number: part as u32 + 1,
        ..BlobRef::default()
    }
}

/// A version of so many parts, which no key has.
async fn object(service: &Rc<Service>, parts: usize) -> Arc<VersionRecord> {
    let writes: Vec<_> = (0..parts).map(|part| spawn(stored(service.clone(), part))).collect();
    let mut blobs = Vec::new();
    for write in writes {
        blobs.push(write.await.unwrap());
    }
    Arc::new(VersionRecord {
        version_id: service.new_id(unix_ms()).into(),
        kind: VersionKind::Object.into(),
        size: (parts * PART_BYTES) as u64,
        part_count: parts as u32,
        blobs,
        ..VersionRecord::default()
    })
}

async fn open(service: &Service, version: &Arc<VersionRecord>, range: Range<u64>) -> ObjectStream {
    let holder = service.bytes.budget().holder();
    let mut reclaimed = Reclaimed::default();
    let opened = ObjectStream::open(&service.bytes, &holder, &mut reclaimed, version.clone(), None, range);
    opened.await.unwrap().unwrap()
}

/// Reads at most `count` bytes. Returns what could be read, and the error that ended it.
async fn read(stream: &mut ObjectStream, count: usize) -> (Vec<u8>, Option<S3Error>) {
    let mut all = Vec::new();
    while stream.left() > 0 && all.len() < count {
        let slice = match stream.fill().await {
            Ok(slice) => slice,
            Err(error) => return (all, Some(error)),
        };
        let taken = slice.len().min(count - all.len());
        all.extend_from_slice(&slice[..taken]);
        stream.consume(taken);
        let held = stream.located.len() + usize::from(stream.reader.is_some());
        assert!(held <= WINDOW, "{held} parts are held");
    }
    (all, None)
}

/// As after the object was replaced.
async fn reclaim(service: &Service, blobs: &[BlobRef]) {
    let ids = blobs.iter().map(|blob| DataId(blob.data_id.to_bytes())).collect();
    service.bytes.delete(PARTITION, ids).await.unwrap();
}

/// The number of parts whose bytes are in place.
fn in_place(service: &Service) -> usize {
    let home = service.bytes.home();
    home.settle();
    let framed = (PART_BYTES + 3 * engine::limits::BLOCK_TRAILER_BYTES).next_multiple_of(4096);
    home.segments().stats().extent_live_bytes as usize / framed
}

/// Whether nobody holds any memory.
fn all_is_free(service: &Service) -> bool {
    let budget = service.bytes.budget();
    budget.held(Class::Small) + budget.held(Class::Large) == 0
}

#[test]
fn a_long_object_is_read_through_several_windows() {
    on_a_node(async |service, _| {
        let version = object(&service, PARTS).await;
        let whole: Vec<u8> = (0..PARTS).flat_map(content).collect();
        let part = PART_BYTES;
        for range in
            [0..whole.len(), 7 * part + 5..(PARTS - 3) * part + 9, part..(WINDOW + 1) * part, 0..part]
        {
            let mut stream = open(&service, &version, range.start as u64..range.end as u64).await;
            let (bytes, error) = read(&mut stream, usize::MAX).await;
            assert!(error.is_none() && bytes == whole[range.clone()], "{range:?}: {error:?}");
            assert!(stream.located.is_empty(), "nothing is located that is not read");
            drop(stream);
            assert!(all_is_free(&service));
        }
    });
}

/// All parts of an object used to be held, however many it had.
#[test]
fn no_more_parts_than_the_window_are_held() {
    on_a_node(async |service, _| {
        let version = object(&service, PARTS).await;
        assert_eq!(in_place(&service), PARTS);
        let mut stream = open(&service, &version, 0..version.size).await;
        let locations = WINDOW * size_of::<Located>() + PARTS * size_of::<BlobRef>();
        assert_eq!(stream.held.as_ref().map(Held::bytes), Some(locations));
        read(&mut stream, WINDOW * PART_BYTES).await;
        reclaim(&service, &version.blobs).await;
        let held = in_place(&service);
        assert!((WINDOW / 2..=WINDOW).contains(&held), "{held} parts are held");
        drop(stream);
        assert!(in_place(&service) == 0 && all_is_free(&service));
    });
}

#[test]
fn an_object_that_fits_the_window_is_read_to_its_end_even_if_it_is_replaced() {
    on_a_node(async |service, _| {
        let version = object(&service, WINDOW).await;
        let mut stream = open(&service, &version, 0..version.size).await;
        reclaim(&service, &version.blobs).await;
        let (bytes, error) = read(&mut stream, usize::MAX).await;
        assert!(error.is_none() && bytes == (0..WINDOW).flat_map(content).collect::<Vec<_>>(), "{error:?}");
        drop(stream);
        assert!(in_place(&service) == 0 && all_is_free(&service));
    });
}

#[test]
fn a_part_that_was_reclaimed_before_the_window_reached_it_ends_the_read() {
    on_a_node(async |service, _| {
        let version = object(&service, PARTS).await;
        let mut stream = open(&service, &version, 0..version.size).await;
        reclaim(&service, &version.blobs).await;
        for _ in 0..2 {
            let (bytes, error) = read(&mut stream, usize::MAX).await;
            assert_eq!(error.map(|error| error.code()), Some(Code::InternalError), "again and again");
            assert!(bytes.len() <= WINDOW * PART_BYTES && stream.left() > 0);
        }
        drop(stream);
        assert!(in_place(&service) == 0 && all_is_free(&service));
    });
}

#[test]
fn a_download_whose_later_parts_are_gone_is_broken_off() {
    on_a_node(async |service, address| {
        let version = object(&service, PARTS).await;
        let put = PutVersion {
            bucket: "bucket".to_owned(),
            key: "long".to_owned(),
            version: VersionRecord::clone(&version),
            precondition: None,
        };
        service.metadata.commit(service.command(Kind::PutVersion(put))).await.unwrap();
        reclaim(&service, &version.blobs[WINDOW..]).await;
        let mut client = Client::connect(address).await;
        client.send("GET /bucket/long", &[], "").await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains(&format!("Content-Length: {}\r\n", version.size)), "{head}");
        let body = client.rest().await.into_bytes();
        assert!(body.len() >= WINDOW / 2 * PART_BYTES && body.len() <= WINDOW * PART_BYTES, "{}", body.len());
        assert!(body == (0..WINDOW).flat_map(content).take(body.len()).collect::<Vec<_>>());
        while service.counters.connections.get() > 1 {
            engine::io::yield_now().await;
        }
        reclaim(&service, &version.blobs).await;
        assert!(in_place(&service) == 0 && all_is_free(&service));
    });
}
