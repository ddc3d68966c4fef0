//! Memory system calls.

use maize_abi::Sysno;
use maize_hal::Arch;

use super::{Call, CallResult};

/// Serves `sysno` if it is a memory call.
pub(crate) async fn dispatch<A: Arch>(_call: Call<'_, A>, _sysno: Sysno) -> Option<CallResult> {
    None
}
