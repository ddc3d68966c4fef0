//! How processes and threads come and go.

mod clone;
mod exec;
mod exit;
mod image;
mod pair;
mod space;
mod spawn;
mod wait;

pub(crate) use clone::{CloneArgs, clone, flag};
pub(crate) use exec::{execve, execveat};
pub(crate) use exit::{exit_thread, exited};
pub(crate) use pair::Pair;
pub(crate) use space::finish_steps;
pub use spawn::{ProgramSpec, SpawnError};
pub(crate) use wait::{ChildKind, Selector, WaitOptions, Waited, wait};
