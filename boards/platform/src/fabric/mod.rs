//! The instance in its fabric: the windows it shares with others, and its links over them.
//!
//! [`join`] enters the fabric that the boot record describes and waits until the others are there
//! too: their windows are tested and their clocks compared. What it gives, [`Links`], is polled by
//! whoever runs the instance. Nobody else comes near the windows.

mod device;
mod links;
mod peer;
mod stats;
mod transport;
mod windows;

use alloc::collections::BTreeSet;

use maize_abi::PAGE_SIZE;
use maize_core::WindowFrames;
use maize_hal::{Arch, Frame, FrameRange, Interrupts, Nanos};
use maize_hostlink::BootRecord;
use maize_ivshmem::Ivshmem;
use maize_link::{FabricConfig, Idle, LifeConfig, LinkConfig};
use maize_window::{Mapping, Span};
use maize_wire::InstanceId;

use crate::siblings::LocalWindow;

pub use device::{DeviceError, find_device, open_device};
pub use links::{Links, LinksConfig};
pub use transport::CoreTransport;
pub use windows::{Bells, JoinError, index_in_machine};

/// The links of an instance on a machine.
pub type MachineLinks = Links<Mapping<'static>, Bells>;

/// How long a window may take to get its header.
const HEADER_PATIENCE: Nanos = Nanos::from_millis(5_000);
/// How long the others may take to come, at the least and at the most. Then the instance goes on without them.
const PEERS_PATIENCE: (Nanos, Nanos) = (Nanos::from_millis(10_000), Nanos::from_millis(60_000));

/// Joins the fabric of the boot record over the device to other machines and
/// the memory of this one. `None` if the instance is alone, and nobody
/// wants to see what it does.
///
/// # Errors
/// [`JoinError`]: the instance must not go on.
pub fn join<A: Arch>(
    arch: &mut A,
    record: &BootRecord,
    pci: Option<Ivshmem>,
    local: Option<LocalWindow>,
) -> Result<Option<Joined>, JoinError> {
    let physical = pci.as_ref().map(|device| device.physical);
    let patience = arch.now() + HEADER_PATIENCE;
    let (reached, bells) = windows::reach(record, pci, local, || {
        core::hint::spin_loop();
        arch.now() < patience
    })?;
    if reached.is_empty() {
        return Ok(None);
    }
    let config = LinksConfig {
        me: InstanceId(record.instance),
        fabric: fabric_config(record),
        trace: record.trace,
        debugged: record.debugged,
    };
    let mut links = Links::enter(&config, &reached, bells, arch.now())?;
    settle(arch, &mut links, config.fabric.link.life.dead_after)?;
    links.report_up();
    let outside = reached.iter().find(|reached| reached.between_machines);
    let window = outside.zip(physical).and_then(|(reached, physical)| {
        window_frames(record, physical, reached.header.layout.frames())
    });
    Ok(Some(Joined { links, window }))
}

/// What an instance has of its fabric.
pub struct Joined {
    /// Its links.
    pub links: MachineLinks,
    /// Frames that another machine sees, too, if pages are to move there.
    pub window: Option<WindowFrames>,
}

/// The page frames of a window, shared out between the instances. With more than two machines there are
/// none: what a machine still writes that was given up would be seen by those that go on.
fn window_frames(record: &BootRecord, physical: u64, span: Span) -> Option<WindowFrames> {
    let machines: BTreeSet<u16> = record.instances.iter().map(|i| i.machine).collect();
    let page = PAGE_SIZE as u64;
    if !record.sharing.promote || machines.len() != 2 || !physical.is_multiple_of(page) {
        return None;
    }
    let words = page / 8;
    let start = physical / page + span.start as u64 / words;
    let frames = span.words as u64 / words;
    let all = FrameRange { start: Frame(start), end: Frame(start + frames) };
    Some(WindowFrames { all, each: frames / record.instances.len() as u64 })
}

fn fabric_config(record: &BootRecord) -> FabricConfig {
    let usual = FabricConfig::default();
    let life = LifeConfig::dying_after(Nanos::from_millis(record.dead_after_ms.into()));
    let link = LinkConfig { life, ..usual.link };
    FabricConfig { link, poll_for: Nanos(record.poll_ns), ..usual }
}

/// Waits until all others are there and their clocks are compared, or one of them has something to
/// say already, or patience ends.
///
/// Patience is as long as that with a silent peer, within bounds: who may be slow to answer may be slow to come.
fn settle<A: Arch>(
    arch: &mut A,
    links: &mut MachineLinks,
    dead_after: Nanos,
) -> Result<(), JoinError> {
    let started = arch.now();
    let until = started + dead_after.clamp(PEERS_PATIENCE.0, PEERS_PATIENCE.1);
    loop {
        let now = arch.now();
        let spoken_to = links.settle(now);
        links.notify();
        if let Some(refusal) = links.refusal() {
            return Err(refusal);
        }
        if spoken_to || links.all_ready() && links.clocks_measured() {
            break;
        }
        if now >= until {
            for peer in links.peers().filter(|peer| !links.is_ready(*peer)) {
                log::warn!("{peer} has not come");
            }
            break;
        }
        if let Idle::Sleep(next) = links.idle_while_settling(now) {
            arch.set_timer(next.min(until));
            if arch.wait_for_interrupt().contains(Interrupts::DOORBELL) {
                links.heard_doorbell();
            }
        }
    }
    links.settled(arch.now().since(started));
    Ok(())
}
