//! What a process of ours never tells: its memory. Keys, passwords and rows are in it, and a core file lies about for whoever comes by.

use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Core dumps cannot be forbidden, so a process with secrets must not begin.
#[derive(Debug, thiserror::Error)]
#[error("core dumps cannot be forbidden ({0}): let the pod's seccomp profile allow setrlimit and prctl")]
pub struct CoreDumpsAllowed(Errno);

/// Forbids core dumps of this process, and core files of every program that it starts, for good. To be called before anything secret is read.
///
/// Only root may look into the process from then on, a debugger included.
pub fn forbid() -> Result<(), CoreDumpsAllowed> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    // Inherited: a program that dumps or restores has rows in its memory.
    setrlimit(Resource::Core, none).map_err(CoreDumpsAllowed)?;
    // Where the system hands a core to a program instead of writing a file, no limit counts.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(CoreDumpsAllowed)
}
