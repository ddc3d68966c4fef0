//! `/proc`: a tree that is made up when it is looked at, in Linux's formats.

mod node;
mod source;
mod system;
mod system_v;
mod task;
mod text;
mod usage;

use maize_abi::Errno;

use crate::Vfs;
use crate::caller::Caller;

pub use node::ProcNode;
pub(crate) use node::{
    entries, is_dir, is_link, is_random, link, look_up, mode, number, owner, parent, path,
};
pub use source::{Area, Memory, ProcSource, System, SystemMemory, Task};

pub(crate) use system::uuid;
pub(crate) use text::{Text, next_piece};

use node::Place;

/// The text of a file of `/proc`, or the first piece of it.
///
/// # Errors
/// `ESRCH` if the process has ended.
pub(crate) fn text(
    vfs: &Vfs,
    node: ProcNode,
    source: &dyn ProcSource,
    caller: &Caller<'_>,
) -> Result<Text, Errno> {
    match node.0 {
        Place::Fixed(fixed) => Ok(Text::whole(system::text(vfs, fixed, source, caller))),
        Place::Counter(index) => {
            let counter = source.counters().into_iter().nth(index.into());
            counter.map(|(_, text)| Text::whole(text)).ok_or(Errno::ENOENT)
        }
        Place::TaskFile(scope, file) => match text::list(file) {
            Some(list) => Ok(list.piece(scope, source, 0, 0)),
            None => task::text(vfs, scope, file, source).map(Text::whole),
        },
        Place::DescriptorInfo(scope, fd) => {
            task::descriptor_info(vfs, scope, fd, source).map(Text::whole)
        }
        _ => Err(Errno::EINVAL),
    }
}
