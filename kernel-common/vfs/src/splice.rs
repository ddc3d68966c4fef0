//! Bytes that go by way of pipes without coming to a program: `splice` and `tee`.
//!
//! Each is one step, from which nothing is lost: what cannot be written stays where it was.

use alloc::vec;
use alloc::vec::Vec;

use maize_abi::Errno;

use crate::Vfs;
use crate::caller::{Caller, Surroundings};
use crate::file::Handle;
use crate::id::{FileId, PipeId};
use crate::io::Place;
use crate::outcome::{Io, Patience, Stop, WaitKey};

/// Bytes moved in one step at most.
const STEP: usize = 64 * 1024;

impl Vfs {
    /// The pipe that a file is an end of.
    pub(crate) fn pipe_of(&self, file: FileId) -> Option<PipeId> {
        match self.file(file).ok()?.handle {
            Handle::Pipe(end) => Some(end.pipe),
            _ => None,
        }
    }

    /// Whether a file is an end of a pipe.
    #[must_use]
    pub fn is_pipe(&self, file: FileId) -> bool {
        self.pipe_of(file).is_some()
    }

    /// Whether two files can be the source and the target of [`Self::splice`] or, `by_pipes`, of
    /// [`Self::tee`].
    ///
    /// # Errors
    /// `EBADF` if they are not open for that; `EINVAL` if they are no pipes, or the same one, or a
    /// file has no flow of bytes.
    pub fn check_splice(&self, from: FileId, to: FileId, by_pipes: bool) -> Result<(), Errno> {
        self.file(from)?.check_readable()?;
        self.file(to)?.check_writable()?;
        match (self.pipe_of(from), self.pipe_of(to)) {
            (Some(from), Some(to)) if from != to => Ok(()),
            (Some(_), None) | (None, Some(_)) if !by_pipes => {
                self.check_flow(from)?;
                self.check_flow(to)
            }
            _ => Err(Errno::EINVAL),
        }
    }

    fn check_flow(&self, file: FileId) -> Result<(), Errno> {
        match self.file(file)?.handle {
            Handle::Directory
            | Handle::Counter(_)
            | Handle::Watches(_)
            | Handle::Interests(_)
            | Handle::Signals(_)
            | Handle::Process(..) => Err(Errno::EINVAL),
            _ => Ok(()),
        }
    }

    /// Moves bytes, `most` at most, between two files of which [`Self::check_splice`] says that it can
    /// be done. Returns how many; 0 at the end of the source.
    ///
    /// # Errors
    /// As `splice`; [`Stop::Wait`].
    pub fn splice(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        (from, from_place): (FileId, Place),
        (to, to_place): (FileId, Place),
        most: u64,
    ) -> Io<usize> {
        let room = self.splice_room(to)?;
        let most = usize::try_from(most).unwrap_or(STEP).min(STEP).min(room);
        let mut buffer = buffer(most)?;
        let Some(pipe) = self.pipe_of(from) else {
            // All of it fits into the pipe that it goes to.
            let count = self.read(env, caller, from, from_place, &mut buffer, Patience::Left)?;
            return self.write(env, caller, to, to_place, &buffer[..count]);
        };
        let count = self.peek_pipe(pipe, from, &mut buffer)?;
        if count == 0 {
            return Ok(0);
        }
        let written = self.write(env, caller, to, to_place, &buffer[..count])?;
        if let Some(pipe) = self.pipes.get_mut(&pipe) {
            pipe.consume(written);
        }
        self.wakes.wake(WaitKey::PipeWritable(pipe));
        Ok(written)
    }

    /// Copies bytes, `most` at most, from one pipe to another and leaves them in the first. Returns
    /// how many; 0 at its end.
    ///
    /// # Errors
    /// As `tee`; [`Stop::Wait`].
    pub fn tee(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        from: FileId,
        to: FileId,
        most: u64,
    ) -> Io<usize> {
        let pipe = self.pipe_of(from).ok_or(Errno::EINVAL)?;
        let room = self.splice_room(to)?;
        let most = usize::try_from(most).unwrap_or(STEP).min(STEP).min(room);
        let mut buffer = buffer(most)?;
        match self.peek_pipe(pipe, from, &mut buffer)? {
            0 => Ok(0),
            count => self.write(env, caller, to, Place::Position, &buffer[..count]),
        }
    }

    /// How much a target takes in one step; all that one can be given if it is no pipe.
    ///
    /// # Errors
    /// `EBADF`, `EAGAIN`; [`Stop::BrokenPipe`], [`Stop::Wait`].
    pub fn splice_room(&self, to: FileId) -> Io<usize> {
        let Some(id) = self.pipe_of(to) else { return Ok(STEP) };
        let pipe = self.pipes.get(&id).ok_or(Errno::EIO)?;
        if pipe.readers == 0 {
            return Err(Stop::BrokenPipe);
        }
        let room = pipe.capacity().saturating_sub(pipe.len());
        if room > 0 {
            return Ok(room);
        }
        let waits = !self.file(to)?.is_nonblocking();
        Err(if waits { Stop::wait(WaitKey::PipeWritable(id)) } else { Errno::EAGAIN.into() })
    }

    fn peek_pipe(&self, pipe: PipeId, file: FileId, out: &mut [u8]) -> Io<usize> {
        let waits = !self.file(file)?.is_nonblocking();
        let peeked = self.pipes.get(&pipe).ok_or(Errno::EIO)?.peek(out);
        peeked.map_err(|_| {
            if waits { Stop::wait(WaitKey::PipeReadable(pipe)) } else { Errno::EAGAIN.into() }
        })
    }
}

fn buffer(len: usize) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![];
    buffer.try_reserve_exact(len).map_err(|_| Errno::ENOMEM)?;
    buffer.resize(len, 0);
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;
    use crate::testing::World;

    /// Two pipes: reader and writer of each.
    fn pipes(f: impl FnOnce(&mut Vfs, &mut World, &Caller<'_>, [FileId; 4])) {
        let mut world = World::default();
        let mut vfs = Vfs::new(Limits::default());
        let view = vfs.initial_view(0o22);
        let caller = crate::root::kernel_caller(&view);
        let (a, b) = vfs.make_pipe(&mut world, &caller, 0).unwrap();
        let (c, d) = vfs.make_pipe(&mut world, &caller, 0).unwrap();
        f(&mut vfs, &mut world, &caller, [a, b, c, d]);
    }

    fn text(vfs: &mut Vfs, env: &mut World, caller: &Caller<'_>, file: FileId) -> Vec<u8> {
        let mut out = vec![0; 100];
        let count = vfs.read(env, caller, file, Place::Position, &mut out, Patience::Left).unwrap();
        out.truncate(count);
        out
    }

    const HERE: Place = Place::Position;

    #[test]
    fn what_is_spliced_is_gone_and_what_is_teed_stays() {
        pipes(|vfs, env, caller, [a, b, c, d]| {
            assert_eq!(vfs.check_splice(a, d, true), Ok(()));
            assert_eq!(vfs.check_splice(a, b, false), Err(Errno::EINVAL));
            assert_eq!(vfs.check_splice(b, d, false), Err(Errno::EBADF));
            assert!(matches!(vfs.tee(env, caller, a, d, 9), Err(Stop::Wait { .. })));
            vfs.write(env, caller, b, HERE, b"hello world").unwrap();
            assert_eq!(vfs.tee(env, caller, a, d, 5), Ok(5));
            assert_eq!(vfs.splice(env, caller, (a, HERE), (d, HERE), 6), Ok(6));
            assert_eq!(text(vfs, env, caller, c), b"hellohello ");
            assert_eq!(text(vfs, env, caller, a), b"world");
            vfs.release(env, b);
            assert_eq!(vfs.splice(env, caller, (a, HERE), (d, HERE), 6), Ok(0));
            vfs.release(env, c);
            assert_eq!(vfs.splice(env, caller, (a, HERE), (d, HERE), 6), Err(Stop::BrokenPipe));
        });
    }

    #[test]
    fn a_full_target_takes_what_fits_and_the_rest_stays() {
        pipes(|vfs, env, caller, [a, b, c, d]| {
            let capacity = vfs.pipe_capacity(d).unwrap();
            vfs.write(env, caller, d, HERE, &vec![1; capacity - 3]).unwrap();
            vfs.write(env, caller, b, HERE, b"abcde").unwrap();
            assert_eq!(vfs.splice(env, caller, (a, HERE), (d, HERE), 100), Ok(3));
            let full = vfs.splice(env, caller, (a, HERE), (d, HERE), 100);
            assert!(matches!(full, Err(Stop::Wait { key: WaitKey::PipeWritable(_), .. })));
            assert_eq!(text(vfs, env, caller, a), b"de");
            assert_eq!(text(vfs, env, caller, c), vec![1; 100]);
        });
    }
}
