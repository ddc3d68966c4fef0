//! `select` and `pselect6`.

use alloc::vec;
use alloc::vec::Vec;

use maize_abi::Errno;
use maize_abi::file::poll as p;
use maize_hal::{Arch, Nanos};

use super::super::clock::{timeval, timeval_bytes};
use super::super::{Call, CallResult};
use super::poll::{Polled, TimeOut, mask_signals, unmask_signals, wait_ready};

const READABLE: u16 = p::POLLIN | p::POLLRDNORM | p::POLLRDBAND | p::POLLHUP | p::POLLERR;
const WRITABLE: u16 = p::POLLOUT | p::POLLWRNORM | p::POLLWRBAND | p::POLLERR;
const EXCEPTIONAL: u16 = p::POLLPRI;

/// The events that put a descriptor into each of the three sets.
const EVENTS: [u16; 3] = [READABLE, WRITABLE, EXCEPTIONAL];

/// Descriptors of one call at most: those a table can hold.
const FDS_MAX: i32 = maize_vfs::NR_OPEN as i32;

/// The three sets of a call, as bit arrays.
struct Sets {
    addresses: [u64; 3],
    bits: [Vec<u8>; 3],
    count: i32,
}

impl Sets {
    /// Reads the sets at arguments 1 to 3.
    async fn read<A: Arch>(call: Call<'_, A>) -> Result<Sets, Errno> {
        let count = call.int(0);
        if count < 0 {
            return Err(Errno::EINVAL);
        }
        let count = count.min(FDS_MAX);
        // Whole words, as the C library lays them out.
        let len = (count as usize).div_ceil(64) * 8;
        let mut sets = Sets {
            addresses: [call.args[1], call.args[2], call.args[3]],
            bits: [vec![0; len], vec![0; len], vec![0; len]],
            count,
        };
        for (address, bits) in sets.addresses.iter().zip(&mut sets.bits) {
            if *address != 0 {
                call.k.read_user(call.current, *address, bits).await?;
            }
        }
        Ok(sets)
    }

    fn has(&self, set: usize, fd: i32) -> bool {
        self.bits[set].get(fd as usize / 8).is_some_and(|byte| byte >> (fd % 8) & 1 != 0)
    }

    /// What is to be polled.
    fn polled(&self) -> Vec<Polled> {
        (0..self.count)
            .filter_map(|fd| {
                let wanted = (0..3).filter(|set| self.has(*set, fd));
                let events = wanted.fold(0, |events, set| events | EVENTS[set]);
                (events != 0).then_some(Polled { fd, events, found: 0 })
            })
            .collect()
    }

    /// Leaves in the sets what was found, and returns how many bits that are.
    ///
    /// # Errors
    /// `EBADF` if a descriptor is not open.
    fn keep(&mut self, polled: &[Polled]) -> CallResult {
        let mut found = [0_u16; 3].map(|_| vec![0_u8; self.bits[0].len()]);
        let mut count = 0;
        for one in polled {
            if one.found & p::POLLNVAL != 0 {
                return Err(Errno::EBADF);
            }
            for (set, events) in EVENTS.into_iter().enumerate() {
                if self.has(set, one.fd) && one.found & events != 0 {
                    found[set][one.fd as usize / 8] |= 1 << (one.fd % 8);
                    count += 1;
                }
            }
        }
        self.bits = found;
        Ok(count)
    }

    async fn write<A: Arch>(&self, call: Call<'_, A>) -> Result<(), Errno> {
        for (address, bits) in self.addresses.iter().zip(&self.bits) {
            if *address != 0 {
                call.k.write_user(call.current, *address, bits).await?;
            }
        }
        Ok(())
    }
}

async fn wait<A: Arch>(call: Call<'_, A>, mut sets: Sets, deadline: Nanos) -> CallResult {
    let mut polled = sets.polled();
    wait_ready(call, &mut polled, deadline).await?;
    let count = sets.keep(&polled)?;
    sets.write(call).await?;
    Ok(count)
}

pub(super) async fn select<A: Arch>(call: Call<'_, A>) -> CallResult {
    let address = call.args[4];
    let mut deadline = Nanos::NEVER;
    if address != 0 {
        let mut bytes = [0; 16];
        call.k.read_user(call.current, address, &mut bytes).await?;
        deadline = call.k.with(|s| s.now()) + timeval(&bytes)?;
    }
    let sets = Sets::read(call).await?;
    let result = wait(call, sets, deadline).await;
    if address != 0 {
        let left = deadline.since(call.k.with(|s| s.now()));
        // That it cannot be written is no error on Linux.
        let _ = call.k.write_user(call.current, address, &timeval_bytes(left)).await;
    }
    match result {
        Err(Errno::EINTR) => Err(Errno::ERESTARTNOHAND),
        other => other,
    }
}

pub(super) async fn pselect6<A: Arch>(call: Call<'_, A>) -> CallResult {
    let time_out = TimeOut::read(call, call.args[4]).await?;
    let mut mask = [0; 2];
    if call.args[5] != 0 {
        mask = call.k.read_words::<2>(call.current, call.args[5]).await?;
    }
    let sets = Sets::read(call).await?;
    mask_signals(call, mask[0], mask[1]).await?;
    let result = wait(call, sets, time_out.deadline).await;
    time_out.write_left(call).await;
    unmask_signals(call, result)
}
