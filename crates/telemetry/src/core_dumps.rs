//! What a process of ours never tells: its memory. Keys, passwords and rows are in it, and a core file lies about for whoever comes by.

use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Core dumps cannot be forbidden, so a process with secrets must not begin.
#[derive(Debug, thiserror::Error)]
#[error("core dumps cannot be forbidden ({0}): let the pod's seccomp profile allow setrlimit and prctl")]
pub struct CoreDumpsAllowed(Errno);

/// The limit at which Linux leaves no core at all, in bytes. A file would have to hold a page at least. Where the system hands cores to a program
/// instead, as `systemd-coredump`, no limit counts, 0 included, but this one: by it the kernel knows a program that is to leave none, so that what
/// takes cores does not take its own.
const NONE: u64 = 1;

/// Forbids core dumps of this process, and of every program that it starts, for good. To be called before anything secret is read.
///
/// Only root may look into the process from then on, a debugger included.
pub fn forbid() -> Result<(), CoreDumpsAllowed> {
    // Inherited: a program that dumps or restores has rows in its memory.
    match limit_to(NONE) {
        // Whoever has begun us allows no more than 0, which stops files, and nobody may raise it again.
        Err(Errno::PERM) => limit_to(0),
        limited => limited,
    }
    .map_err(CoreDumpsAllowed)?;
    // This one says the same of us, and keeps debuggers out; whoever begins another program loses it.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(CoreDumpsAllowed)
}

fn limit_to(bytes: u64) -> Result<(), Errno> {
    let limit = Rlimit {
        current: Some(bytes),
        maximum: Some(bytes),
    };
    setrlimit(Resource::Core, limit)
}
