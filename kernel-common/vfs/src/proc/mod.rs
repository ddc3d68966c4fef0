//! `/proc`: a tree that is made up when it is looked at, in Linux's formats.

mod node;
mod source;
mod system;
mod system_v;
mod task;
mod usage;

use alloc::string::String;
use alloc::vec::Vec;

use maize_abi::Errno;

use crate::Vfs;
use crate::caller::Caller;

pub use node::ProcNode;
pub(crate) use node::{
    entries, is_dir, is_link, is_random, link, look_up, mode, number, owner, parent, path,
};
pub use source::{Area, Memory, ProcSource, System, SystemMemory, Task};

pub(crate) use system::uuid;

use node::Place;

/// The text of a file of `/proc`.
///
/// # Errors
/// `ESRCH` if the process has ended.
pub(crate) fn text(
    vfs: &Vfs,
    node: ProcNode,
    source: &dyn ProcSource,
    caller: &Caller<'_>,
) -> Result<Vec<u8>, Errno> {
    match node.0 {
        Place::Fixed(fixed) => Ok(system::text(vfs, fixed, source, caller).into_bytes()),
        Place::Counter(index) => {
            let counter = source.counters().into_iter().nth(index.into());
            counter.map(|(_, text)| String::into_bytes(text)).ok_or(Errno::ENOENT)
        }
        Place::TaskFile(scope, file) => task::text(vfs, scope, file, source),
        Place::DescriptorInfo(scope, fd) => task::descriptor_info(vfs, scope, fd, source),
        _ => Err(Errno::EINVAL),
    }
}
