//! Sockets that only messages hold.
//!
//! A socket can be among the files that are under way to itself, or to one that is under way to it. When no
//! descriptor is left that leads there, nobody can ever receive it, and each keeps the other open. So
//! when a socket was closed, or given away, while any is under way, those that can still be received
//! are found, and what is under way to the others is lost, which closes them.
//!
//! A socket can be received if its file has a holder beside messages, or if it is under way to one that
//! can, or waits to be accepted there.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::{Message, Role};
use crate::Vfs;
use crate::caller::Surroundings;
use crate::file::Handle;
use crate::id::{FileId, SocketId};

/// How many sockets can be under way at most: each close looks at all of them. Linux has such a bound, too.
pub(super) const SOCKETS_UNDER_WAY: usize = 1024;

impl Vfs {
    /// How many of some files are sockets.
    pub(super) fn sockets_among(&self, files: &[FileId]) -> usize {
        files.iter().filter(|file| self.socket_of(**file).is_ok()).count()
    }

    /// Drops a message that nobody has received. Returns the sockets that are to be closed because of
    /// that.
    pub(super) fn lose(&mut self, env: &mut dyn Surroundings, message: Message) -> Vec<SocketId> {
        self.received(&message);
        self.sockets_under_way -= self.sockets_among(&message.files);
        message.files.into_iter().filter_map(|file| self.drop_holder(env, file)).collect()
    }

    /// Closes sockets that nobody can receive any more.
    pub(crate) fn close_lost_sockets(&mut self, env: &mut dyn Surroundings) {
        let found = self.sockets_to_be_had();
        let lost: Vec<SocketId> =
            self.sockets.keys().copied().filter(|id| !found.contains(id)).collect();
        let mut messages = Vec::new();
        for id in lost {
            if let Some(socket) = self.sockets.get_mut(&id) {
                messages.extend(socket.inbox.drain(..));
            }
        }
        for message in messages {
            for socket in self.lose(env, message) {
                self.close_socket(env, socket);
            }
        }
    }

    /// The sockets that somebody has open, or can receive or accept.
    fn sockets_to_be_had(&self) -> BTreeSet<SocketId> {
        let mut under_way: BTreeMap<FileId, u32> = BTreeMap::new();
        for socket in self.sockets.values() {
            for file in socket.inbox.iter().flat_map(|message| &message.files) {
                *under_way.entry(*file).or_default() += 1;
            }
        }
        let mut next: Vec<SocketId> = Vec::new();
        for (id, file) in &self.files {
            if let Handle::Socket(socket) = file.handle
                && file.holders > under_way.get(id).copied().unwrap_or(0)
            {
                next.push(socket);
            }
        }
        let mut found = BTreeSet::new();
        while let Some(id) = next.pop() {
            let Some(socket) = self.sockets.get(&id).filter(|_| found.insert(id)) else { continue };
            let files = socket.inbox.iter().flat_map(|message| &message.files);
            next.extend(files.filter_map(|file| self.socket_of(*file).ok()));
            if let Role::Listening { waiting, .. } = &socket.role {
                next.extend(waiting);
            }
        }
        found
    }
}
