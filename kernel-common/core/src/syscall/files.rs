//! File system calls.

use maize_abi::{Errno, Sysno};
use maize_hal::{Arch, Nanos};

use super::{Call, CallResult};

/// Serves `sysno` if it is a file call.
pub(crate) async fn dispatch<A: Arch>(_call: Call<'_, A>, _sysno: Sysno) -> Option<CallResult> {
    None
}

/// Goes on with a `poll` whose time-out became a deadline.
pub(crate) async fn poll_until<A: Arch>(
    _call: Call<'_, A>,
    _fds: u64,
    _count: u64,
    _deadline: Nanos,
) -> CallResult {
    Err(Errno::EINTR)
}
