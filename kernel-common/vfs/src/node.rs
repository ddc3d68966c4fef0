//! What a path leads to.

use crate::id::InodeId;
use crate::proc::ProcNode;

/// What a path leads to: an inode that is kept, or a place in `/proc`, which is made up when it is
/// looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    /// A file or directory that is kept in memory.
    Inode(InodeId),
    /// A place in `/proc`.
    Proc(ProcNode),
}
