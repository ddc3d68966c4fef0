//! Users and groups of the calling process.

use alloc::vec;
use alloc::vec::Vec;

use maize_abi::Errno;
use maize_abi::capability::Capability;
use maize_hal::Arch;

use super::{Call, CallResult};
use crate::credentials::{Credentials, Ids};
use crate::homes::News;

/// Supplementary groups at most (`NGROUPS_MAX`).
const MOST_GROUPS: usize = 65536;

/// Which ids of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    User,
    Group,
}

impl Kind {
    /// What it takes to become anybody.
    const fn capability(self) -> Capability {
        match self {
            Kind::User => Capability::Setuid,
            Kind::Group => Capability::Setgid,
        }
    }

    const fn of(self, credentials: &mut Credentials) -> &mut Ids {
        match self {
            Kind::User => &mut credentials.user,
            Kind::Group => &mut credentials.group,
        }
    }
}

impl<A: Arch> Call<'_, A> {
    fn ids(&self, kind: Kind) -> Ids {
        *kind.of(&mut self.k.with(|s| s.credentials(self.current.pid)))
    }

    /// Changes ids; the last argument of `f` is whether the caller is privileged.
    fn change_ids<R>(
        &self,
        kind: Kind,
        f: impl FnOnce(&mut Ids, bool) -> Result<R, Errno>,
    ) -> Result<R, Errno> {
        self.k.with(|s| {
            let process = s.processes.get_mut(&self.current.pid).ok_or(Errno::ESRCH)?;
            let credentials = &mut process.credentials;
            let privileged = credentials.may(kind.capability());
            let before = credentials.user;
            let result = f(kind.of(credentials), privileged);
            let user = credentials.user;
            let Ids { real, files, .. } = user;
            if (Ids { files, ..before }) == user {
                credentials.capabilities.user_for_files_changed(before.files, files);
            } else {
                credentials.capabilities.user_changed(&before, &user);
            }
            if real != before.real {
                s.tell_home(self.current.pid, News::User { real });
            }
            result
        })
    }
}

/// `getuid`, `getgid`.
pub(super) fn real<A: Arch>(call: Call<'_, A>, kind: Kind) -> CallResult {
    Ok(u64::from(call.ids(kind).real))
}

/// `geteuid`, `getegid`.
pub(super) fn effective<A: Arch>(call: Call<'_, A>, kind: Kind) -> CallResult {
    Ok(u64::from(call.ids(kind).effective))
}

/// `getresuid`, `getresgid`.
pub(super) async fn get_three<A: Arch>(call: Call<'_, A>, kind: Kind) -> CallResult {
    for (at, id) in call.args.iter().zip(call.ids(kind).all()).take(3) {
        call.k.write_user(call.current, *at, &id.to_le_bytes()).await?;
    }
    Ok(0)
}

/// `setuid`, `setgid`.
pub(super) fn set<A: Arch>(call: Call<'_, A>, kind: Kind) -> CallResult {
    call.change_ids(kind, |ids, privileged| ids.set(call.uint(0), privileged)).map(|()| 0)
}

/// `setreuid`, `setregid`.
pub(super) fn set_two<A: Arch>(call: Call<'_, A>, kind: Kind) -> CallResult {
    let (real, effective) = (call.uint(0), call.uint(1));
    call.change_ids(kind, |ids, privileged| ids.set_two(real, effective, privileged)).map(|()| 0)
}

/// `setresuid`, `setresgid`.
pub(super) fn set_three<A: Arch>(call: Call<'_, A>, kind: Kind) -> CallResult {
    let wanted = [call.uint(0), call.uint(1), call.uint(2)];
    call.change_ids(kind, |ids, privileged| ids.set_three(wanted, privileged)).map(|()| 0)
}

/// `setfsuid`, `setfsgid`.
pub(super) fn set_for_files<A: Arch>(call: Call<'_, A>, kind: Kind) -> CallResult {
    let id = call.uint(0);
    call.change_ids(kind, |ids, privileged| Ok(u64::from(ids.set_for_files(id, privileged))))
}

pub(super) async fn getgroups<A: Arch>(call: Call<'_, A>) -> CallResult {
    let room = usize::try_from(call.int(0)).map_err(|_| Errno::EINVAL)?;
    let groups = call.k.with(|s| s.credentials(call.current.pid)).groups;
    if room != 0 {
        if groups.len() > room {
            return Err(Errno::EINVAL);
        }
        let bytes: Vec<u8> = groups.iter().flat_map(|group| group.to_le_bytes()).collect();
        call.k.write_user(call.current, call.args[1], &bytes).await?;
    }
    Ok(groups.len() as u64)
}

pub(super) async fn setgroups<A: Arch>(call: Call<'_, A>) -> CallResult {
    if !call.k.with(|s| s.credentials(call.current.pid)).may(Capability::Setgid) {
        return Err(Errno::EPERM);
    }
    let count = call.uint(0) as usize;
    if count > MOST_GROUPS {
        return Err(Errno::EINVAL);
    }
    let mut bytes = vec![0; count * size_of::<u32>()];
    call.k.read_user(call.current, call.args[1], &mut bytes).await?;
    let groups: Vec<u32> =
        bytes.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
    call.k.with(|s| {
        let process = s.processes.get_mut(&call.current.pid).ok_or(Errno::ESRCH)?;
        process.credentials.groups = groups.into();
        Ok(0)
    })
}
