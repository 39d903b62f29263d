//! Syncs of extent segments that fail.

use super::*;

/// Growing a file synced it on its own. Such a sync can take the error of pages that others wrote, and the next sync then
/// succeeds without them.
#[test]
fn a_failed_sync_of_a_file_that_grew_seals_its_segment() {
    run(async |data| {
        let store = open(data).await;
        put_large(&store, 1, 1, 70_000).await;
        let written = store.reserve(70_000).await.expect("reserve");
        write_extent(&store, written, &body(2, 70_000)).await;
        store.fail_next_extent_sync();
        let failed = store.reserve(1 << 20).await;
        assert!(matches!(failed, Err(Error::Io { .. })), "{failed:?}");

        let published = store.publish(&[PublishItem { blob: blob(2), at: written, length: 70_000 }]).await;
        assert!(matches!(published, Err(Error::Busy(_))), "{published:?}");
        let elsewhere = store.reserve(1 << 20).await.expect("reserve in a new segment");
        assert_ne!(elsewhere.segment, written.segment);
        put_large(&store, 3, 2, 70_000).await;
        let store = reopen(store, data).await;
        expect(&store, 1, 70_000).await;
        assert_eq!(get(&store, 2).await, None, "never published");
        assert_eq!(get(&store, 3).await.expect("published").len(), 140_000);
        store.shutdown().await;
    });
}
