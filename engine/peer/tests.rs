use super::harness::on_one_core;
use super::*;

use crate::error::Error;
use crate::limits::EXTENT_BYTES;

#[test]
fn what_a_caller_no_longer_waits_for_is_released() {
    on_one_core(|bytes| async move {
        for wait_ms in [0, 1, 2, 5, 20] {
            let reserve = bytes.reserve(5, EXTENT_BYTES);
            let wait = std::time::Duration::from_millis(wait_ms);
            let _ = crate::io::timeout(wait, reserve).await;
        }
        // Operations are executed in order of arrival, so the last one has seen all before it.
        let place = bytes.reserve(5, 4096).await.expect("reserved");
        drop(place);
        crate::io::sleep(std::time::Duration::from_millis(50)).await;
        bytes.home().settle();
        assert_eq!(bytes.home().segments().stats().extent_live_bytes, 0);
    });
}

#[test]
fn places_of_another_core_and_unknown_ones_are_not_published() {
    on_one_core(|bytes| async move {
        let mut place = bytes.reserve(5, 4096).await.expect("reserved");
        place.core = 3;
        let extent = WrittenExtent { place, header: BlobHeader::default(), length: 40 };
        assert!(matches!(bytes.publish(5, vec![extent]).await, Err(Error::Invalid(_))));
        let place = bytes.reserve(5, 4096).await.expect("reserved");
        let extent = WrittenExtent { place, header: BlobHeader::default(), length: 5000 };
        assert!(matches!(bytes.publish(5, vec![extent]).await, Err(Error::Invalid(_))));
        bytes.home().settle();
        assert_eq!(bytes.home().segments().stats().extent_live_bytes, 0);
    });
}

#[test]
fn deleting_a_blob_that_is_not_stored_is_not_an_error() {
    on_one_core(|bytes| async move {
        bytes.delete(5, vec![DataId([1; 16])]).await.expect("nothing to do");
        assert_eq!(bytes.locate(5, DataId([1; 16]), 0, Hold::Extents).await.unwrap_err(), Error::NotFound);
    });
}
