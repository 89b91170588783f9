//! Closes the process to other processes of its user before the first secret is read (security.md 44, 45).
//!
//! A process that is not dumpable leaves no core file, cannot be traced, and keeps `/proc/PID/environ` and
//! `/proc/PID/mem` to root.

use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// What the kernel refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HardenFault {
    /// `prctl(PR_SET_DUMPABLE, 0)`.
    #[error("the process cannot be made non-dumpable: {0}")]
    Dumpable(#[source] Errno),
    /// `setrlimit(RLIMIT_CORE, 0)`.
    #[error("core files cannot be turned off: {0}")]
    Core(#[source] Errno),
}

/// Turns core files off and makes the process non-dumpable.
pub fn harden() -> Result<(), HardenFault> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(HardenFault::Dumpable)?;
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none).map_err(HardenFault::Core)
}

#[cfg(test)]
mod tests {
    use rustix::process::{dumpable_behavior, getrlimit};

    use super::*;

    #[test]
    fn a_hardened_process_leaves_no_core_and_cannot_be_traced() {
        harden().unwrap();
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        let core = getrlimit(Resource::Core);
        assert_eq!((core.current, core.maximum), (Some(0), Some(0)));
        harden().unwrap();
    }
}
