//! The faults that a world may have, and how often each occurs.

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A process is killed, or its machine loses power, at any step.
    Crash,
    /// The same, before the process has recovered from the last crash.
    CrashInRecovery,
    /// A process stands still for a time.
    Pause,
    /// The wall clock of a machine jumps or runs at another speed.
    Clock,
    /// A read fails.
    ReadError,
    /// A write fails; some of its pages may have been written.
    WriteError,
    /// A sync fails. Each page that it covered is old or new.
    SyncError,
    /// The file system is full.
    NoSpace,
    /// At a loss of power, a page that was not synced is a mixture of sectors.
    TornWrite,
    /// At a loss of power, a write that was not synced is gone.
    LostWrite,
    /// A write goes to the wrong place.
    MisdirectedWrite,
    /// A bit on the disk flips.
    BitRot,
    /// The disk is slow.
    SlowDisk,
    /// A connection is cut.
    Cut,
    /// A connection delivers nothing for a time.
    Stall,
    /// For a time nothing gets from the clients to the nodes, or the other way, or both.
    Partition,
    /// A client closes its sending direction once it has sent its request.
    HalfClose,
    /// A client sends something that is not a request, or breaks off a request.
    Garbage,
}

impl Fault {
    /// All faults.
    pub const ALL: [Fault; 18] = [
        Fault::Crash,
        Fault::CrashInRecovery,
        Fault::Pause,
        Fault::Clock,
        Fault::ReadError,
        Fault::WriteError,
        Fault::SyncError,
        Fault::NoSpace,
        Fault::TornWrite,
        Fault::LostWrite,
        Fault::MisdirectedWrite,
        Fault::BitRot,
        Fault::SlowDisk,
        Fault::Cut,
        Fault::Stall,
        Fault::Partition,
        Fault::HalfClose,
        Fault::Garbage,
    ];

    /// Its name in summaries.
    pub fn name(self) -> &'static str {
        match self {
            Fault::Crash => "crash",
            Fault::CrashInRecovery => "crash-in-recovery",
            Fault::Pause => "pause",
            Fault::Clock => "clock",
            Fault::ReadError => "read-error",
            Fault::WriteError => "write-error",
            Fault::SyncError => "sync-error",
            Fault::NoSpace => "no-space",
            Fault::TornWrite => "torn-write",
            Fault::LostWrite => "lost-write",
            Fault::MisdirectedWrite => "misdirected-write",
            Fault::BitRot => "bit-rot",
            Fault::SlowDisk => "slow-disk",
            Fault::Cut => "cut",
            Fault::Stall => "stall",
            Fault::Partition => "partition",
            Fault::HalfClose => "half-close",
            Fault::Garbage => "garbage",
        }
    }

    /// Whether it changes durable bytes, so that the only copy on a node may be lost.
    pub fn damages(self) -> bool {
        matches!(self, Fault::MisdirectedWrite | Fault::BitRot)
    }
}

/// How often the faults of one disk occur, per million operations of that kind.
#[derive(Clone, Copy, Debug, Default)]
pub struct FaultRates {
    /// Reads that fail.
    pub read_error: u32,
    /// Writes that fail.
    pub write_error: u32,
    /// Syncs that fail.
    pub sync_error: u32,
    /// Only syncs of files whose names begin with this fail.
    pub sync_errors_in: &'static str,
    /// Writes that go to the wrong place.
    pub misdirected_write: u32,
    /// Reads before which a bit of the range flips.
    pub bit_rot: u32,
    /// Slow operations.
    pub slow: u32,
    /// Whether a loss of power may tear a page.
    pub torn: bool,
    /// Whether a loss of power may lose what was not synced.
    pub lost: bool,
}
