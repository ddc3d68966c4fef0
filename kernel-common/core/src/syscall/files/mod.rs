//! File system calls.
//!
//! Paths and structures are imported first; the operation itself is one step of the file system
//! ([`crate::state::State::with_files`]); results go to memory that was made ready before.

mod attributes;
mod descriptors;
mod directories;
mod epoll;
mod ioctl;
mod locks;
mod messages;
mod names;
mod open;
mod poll;
mod processes;
mod receive;
mod segments;
mod select;
mod signals;
mod sockets;
mod splice;
mod stream;
mod timers;
mod transfer;
mod watches;

use alloc::vec::Vec;

use maize_abi::{Errno, Sysno};
use maize_hal::Arch;
use maize_vfs::{At, FileId, Io, Patience, Stop};

use super::{Call, CallResult};
use crate::state::State;
use crate::wait::{Interruptible, WaitKey, Woken};

pub(super) use poll::poll_until;

/// Serves `sysno` if it is a file call.
pub(super) async fn dispatch<A: Arch>(call: Call<'_, A>, sysno: Sysno) -> Option<CallResult> {
    use Sysno as N;
    Some(match sysno {
        N::Read => stream::read(call).await,
        N::Write => stream::write(call).await,
        N::Readv => stream::readv(call).await,
        N::Writev => stream::writev(call).await,
        N::Pread64 => stream::pread(call).await,
        N::Pwrite64 => stream::pwrite(call).await,
        N::Preadv | N::Preadv2 => stream::preadv(call, sysno == N::Preadv2).await,
        N::Pwritev | N::Pwritev2 => stream::pwritev(call, sysno == N::Pwritev2).await,
        N::Lseek => stream::lseek(call),
        N::Sendfile => transfer::sendfile(call).await,
        N::CopyFileRange => transfer::copy_file_range(call).await,
        N::Splice => splice::splice(call).await,
        N::Tee => splice::tee(call).await,
        N::Vmsplice => splice::vmsplice(call).await,

        N::Open => open::open(call).await,
        N::Openat => open::openat(call).await,
        N::Openat2 => open::openat2(call).await,
        N::Creat => open::creat(call).await,
        N::Close => descriptors::close(call),
        N::CloseRange => descriptors::close_range(call),
        N::Dup => descriptors::dup(call),
        N::Dup2 => descriptors::dup2(call),
        N::Dup3 => descriptors::dup3(call),
        N::Fcntl => descriptors::fcntl(call).await,
        N::Flock => locks::flock(call).await,
        N::Ioctl => ioctl::ioctl(call).await,
        N::Pipe => open::pipe(call, false).await,
        N::Pipe2 => open::pipe(call, true).await,
        N::Eventfd => open::eventfd(call, false),
        N::Eventfd2 => open::eventfd(call, true),
        N::Signalfd => signals::signalfd(call, false).await,
        N::Signalfd4 => signals::signalfd(call, true).await,
        N::TimerfdCreate => timers::create(call),
        N::TimerfdSettime => timers::set(call).await,
        N::TimerfdGettime => timers::get(call).await,
        N::PidfdOpen => processes::open(call),
        N::PidfdSendSignal => processes::send_signal(call).await,
        N::PidfdGetfd => processes::get_file(call),
        N::MemfdCreate => open::memfd_create(call).await,
        N::InotifyInit => watches::init(call, false),
        N::InotifyInit1 => watches::init(call, true),
        N::InotifyAddWatch => watches::add(call).await,
        N::InotifyRmWatch => watches::remove(call),
        N::Fsync | N::Fdatasync => descriptors::sync(call),
        N::Syncfs => descriptors::check(call),
        N::SyncFileRange | N::Fadvise64 | N::Readahead => descriptors::check(call),
        N::Sync => Ok(0),

        N::Poll => poll::poll(call).await,
        N::Ppoll => poll::ppoll(call).await,
        N::Select => select::select(call).await,
        N::Pselect6 => select::pselect6(call).await,

        N::Socket => sockets::socket(call),
        N::Socketpair => sockets::pair(call).await,
        N::Bind => sockets::bind(call).await,
        N::Listen => sockets::listen(call),
        N::Connect => sockets::connect(call).await,
        N::Accept => sockets::accept(call, false).await,
        N::Accept4 => sockets::accept(call, true).await,
        N::Getsockname => sockets::name(call, false).await,
        N::Getpeername => sockets::name(call, true).await,
        N::Shutdown => sockets::shutdown(call),
        N::Getsockopt => sockets::getsockopt(call).await,
        N::Setsockopt => sockets::setsockopt(call).await,
        N::Sendto => messages::sendto(call).await,
        N::Sendmsg => messages::sendmsg(call).await,
        N::Sendmmsg => messages::sendmmsg(call).await,
        N::Recvmmsg => receive::recvmmsg(call).await,
        N::Recvfrom => receive::recvfrom(call).await,
        N::Recvmsg => receive::recvmsg(call).await,

        N::EpollCreate => epoll::create(call, false),
        N::EpollCreate1 => epoll::create(call, true),
        N::EpollCtl => epoll::change(call).await,
        N::EpollWait => epoll::wait(call).await,
        N::EpollPwait => epoll::pwait(call).await,
        N::EpollPwait2 => epoll::pwait2(call).await,

        N::Access => attributes::access(call).await,
        N::Faccessat => attributes::faccessat(call, false).await,
        N::Faccessat2 => attributes::faccessat(call, true).await,
        N::Stat => attributes::stat(call, true).await,
        N::Lstat => attributes::stat(call, false).await,
        N::Fstat => attributes::fstat(call).await,
        N::Newfstatat => attributes::newfstatat(call).await,
        N::Statx => attributes::statx(call).await,
        N::Statfs => attributes::statfs(call).await,
        N::Fstatfs => attributes::fstatfs(call).await,
        N::Chmod => attributes::chmod(call).await,
        N::Fchmod => attributes::fchmod(call),
        N::Fchmodat => attributes::fchmodat(call).await,
        N::Chown => attributes::chown(call, true).await,
        N::Lchown => attributes::chown(call, false).await,
        N::Fchown => attributes::fchown(call),
        N::Fchownat => attributes::fchownat(call).await,
        N::Utimensat => attributes::utimensat(call).await,
        N::Utimes => attributes::utimes(call).await,
        N::Utime => attributes::utime(call).await,
        N::Futimesat => attributes::futimesat(call).await,
        N::Truncate => attributes::truncate(call).await,
        N::Ftruncate => attributes::ftruncate(call).await,
        N::Fallocate => attributes::fallocate(call).await,
        N::Umask => attributes::umask(call),
        N::Listxattr | N::Llistxattr | N::Flistxattr => {
            attributes::extended(call, sysno).await.map(|()| 0)
        }
        N::Setxattr
        | N::Lsetxattr
        | N::Fsetxattr
        | N::Getxattr
        | N::Lgetxattr
        | N::Fgetxattr
        | N::Removexattr
        | N::Lremovexattr
        | N::Fremovexattr => attributes::extended(call, sysno).await.and(Err(Errno::EOPNOTSUPP)),

        N::Getcwd => directories::getcwd(call).await,
        N::Chdir => directories::chdir(call).await,
        N::Fchdir => directories::fchdir(call),
        N::Chroot => directories::chroot(call).await,
        N::Getdents => directories::getdents(call, false).await,
        N::Getdents64 => directories::getdents(call, true).await,

        N::Mkdir => names::mkdir(call).await,
        N::Mkdirat => names::mkdirat(call).await,
        N::Mknod => names::mknod(call).await,
        N::Mknodat => names::mknodat(call).await,
        N::Rmdir => names::rmdir(call).await,
        N::Unlink => names::unlink(call).await,
        N::Unlinkat => names::unlinkat(call).await,
        N::Link => names::link(call).await,
        N::Linkat => names::linkat(call).await,
        N::Symlink => names::symlink(call).await,
        N::Symlinkat => names::symlinkat(call).await,
        N::Readlink => names::readlink(call).await,
        N::Readlinkat => names::readlinkat(call).await,
        N::Rename => names::rename(call).await,
        N::Renameat => names::renameat(call, false).await,
        N::Renameat2 => names::renameat(call, true).await,
        _ => return None,
    })
}

/// A path from the program, and where it starts.
pub(super) struct PathArgument {
    pub(super) at: At,
    pub(super) path: Vec<u8>,
}

impl<A: Arch> Call<'_, A> {
    /// The path at argument `n`, relative to the working directory.
    async fn path(&self, n: usize) -> Result<PathArgument, Errno> {
        let path = self.k.read_path(self.current, self.args[n]).await?;
        Ok(PathArgument { at: At::Cwd, path })
    }

    /// The path at argument `n + 1`, relative to the directory whose descriptor argument `n` is.
    async fn path_at(&self, n: usize) -> Result<PathArgument, Errno> {
        let path = self.k.read_path(self.current, self.args[n + 1]).await?;
        let at = self.k.with(|s| s.at(self.current, self.int(n), &path))?;
        Ok(PathArgument { at, path })
    }

    /// The open file of the descriptor at argument `n`.
    fn file(&self, n: usize) -> Result<FileId, Errno> {
        self.k.with(|s| s.file_of(self.current, self.int(n)))
    }

    /// Runs an operation until it does not have to wait any more. Each try is one step, in which
    /// `effect` also stores what it has read, if that is its business.
    ///
    /// A signal ends the wait with `interrupted`; so does the terminal when the caller is in the
    /// background.
    async fn wait_until<R>(
        &self,
        interrupted: Errno,
        mut effect: impl FnMut(&mut State<A>, Patience) -> Io<R>,
    ) -> Result<R, Errno> {
        let mut patience = Patience::Left;
        loop {
            match self.k.with(|s| effect(s, patience)) {
                Ok(result) => return Ok(result),
                Err(Stop::Wait { key, at_most }) => {
                    let deadline = self.k.with(|s| s.now()) + at_most;
                    let keys = [WaitKey::File(key)];
                    let by = Interruptible::BySignals;
                    patience = match self.k.wait_for(self.current.task, &keys, deadline, by).await {
                        Woken::Event => Patience::Left,
                        Woken::TimedOut => Patience::Exhausted,
                        Woken::Interrupted => return Err(interrupted),
                    };
                }
                Err(Stop::Page(need)) => {
                    self.k.obtain(self.current, need).await.map_err(|_| Errno::EIO)?;
                }
                Err(stop) => return Err(self.failed(stop)),
            }
        }
    }

    /// The error of an operation that stopped for another reason than to wait, with the signals
    /// that go with it sent.
    fn failed(&self, stop: Stop) -> Errno {
        use maize_abi::signal::{SigInfo, Signal};
        match stop {
            Stop::Error(errno) => errno,
            Stop::Wait { .. } => Errno::EAGAIN,
            Stop::Page(_) => Errno::EIO,
            Stop::BrokenPipe => {
                let info = SigInfo::from_kernel(Signal::SIGPIPE);
                // It can only fail if the thread is ending.
                let _ = self.k.with(|s| s.send_to_thread(self.current.tid, info));
                Errno::EPIPE
            }
            Stop::Background(signal) => {
                self.k.with(|s| {
                    let group = s.group_of(self.current.pid);
                    s.send_to_group(group, SigInfo::from_kernel(signal));
                });
                Errno::ERESTARTSYS
            }
        }
    }
}
