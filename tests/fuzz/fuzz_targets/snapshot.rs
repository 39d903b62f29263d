//! Streams of rows: an installed stream is exported again with the same bytes; a damaged one changes nothing.
#![no_main]

use std::io::{Cursor, Write};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use hamster_fuzz::{Source, bounded, crc32c};
use libfuzzer_sys::fuzz_target;
use raft::fuzz::{export, install};
use raft::kv::{Batch, Kv, MemoryKv, Reader};

/// What a row's key and value may take in memory, with the buffers around them.
const MEMORY: usize = (2 * 8 << 20) + (1 << 20);

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("not poisoned").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

fn rows(kv: &MemoryKv) -> Rows {
    let mut all = Vec::new();
    let seen = kv.snapshot().scan(&[], &[0xff; 8], &mut |key, value| {
        all.push((key.to_vec(), value.to_vec()));
        Ok(ControlFlow::Continue(()))
    });
    seen.expect("memory is read");
    all
}

/// A store that already holds a row.
fn store() -> MemoryKv {
    let kv = MemoryKv::new();
    let mut batch = Batch::default();
    batch.put(*b"bold\0", *b"x");
    kv.write(batch).expect("memory is written");
    kv
}

/// Installs a stream; returns the rows that there are then, or `None` if it was refused.
fn installed(stream: &[u8]) -> Option<Rows> {
    let kv = store();
    let before = rows(&kv);
    let source = Box::new(Cursor::new(stream.to_vec()));
    match bounded(MEMORY + 8 * stream.len(), || install(&kv, source)) {
        Ok(()) => {
            let out = Shared::default();
            // An applied mark that does not parse is not a fault of the stream.
            let _ = export(&kv.snapshot(), Box::new(out.clone()));
            let exported = std::mem::take(&mut *out.0.lock().expect("not poisoned"));
            assert!(stream.starts_with(&exported) && !exported.is_empty(), "it is exported with other bytes");
            Some(rows(&kv))
        }
        Err(_) => {
            assert_eq!(rows(&kv), before, "a stream that was refused changed something");
            None
        }
    }
}

fn written(rows: &Rows) -> Vec<u8> {
    let mut out = b"HWSN\x01\0\0\0".to_vec();
    for (key, value) in rows {
        out.extend((key.len() as u32).to_le_bytes());
        out.extend((value.len() as u32).to_le_bytes());
        out.extend_from_slice(key);
        out.extend_from_slice(value);
    }
    out.extend_from_slice(&[0xff; 8]);
    out.extend((rows.len() as u64).to_le_bytes());
    let sum = crc32c(&[&out]);
    out.extend(sum.to_le_bytes());
    out
}

fn made(plan: &mut Source<'_>) {
    let (at, bit, sorted) = (usize::from(plan.u16()), plan.byte() % 8, plan.flag());
    let mut planned: Rows = Vec::new();
    while !plan.is_empty() {
        let key = plan.short().to_vec();
        planned.push((key, plan.short().to_vec()));
    }
    if sorted {
        planned.sort();
        planned.dedup_by(|a, b| a.0 == b.0);
        planned.retain(|(key, _)| key.first().is_some_and(|tag| (1..0xff).contains(tag)));
    }
    let mut stream = written(&planned);
    let found = installed(&stream);
    assert!(found.is_some() || !sorted, "a good stream was refused");
    assert!(found.is_none_or(|found| found == planned), "other rows than the stream's");
    let at = at % stream.len();
    assert_eq!(installed(&stream[..at]), None, "a truncated stream");
    stream[at] ^= 1 << bit;
    assert_eq!(installed(&stream), None, "a changed stream");
}

fuzz_target!(|data: &[u8]| {
    let mut source = Source(data);
    if source.flag() {
        drop(installed(source.rest()));
    } else {
        made(&mut source);
    }
});
