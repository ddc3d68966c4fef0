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

use maize_hal::{Arch, Interrupts, Nanos};
use maize_hostlink::BootRecord;
use maize_ivshmem::Ivshmem;
use maize_link::{FabricConfig, Idle, LinkConfig};
use maize_window::Mapping;
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
/// How long the others may take to come. Then the instance goes on without them.
const PEERS_PATIENCE: Nanos = Nanos::from_millis(10_000);

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
) -> Result<Option<MachineLinks>, JoinError> {
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
    settle(arch, &mut links)?;
    links.report_up();
    Ok(Some(links))
}

fn fabric_config(record: &BootRecord) -> FabricConfig {
    let usual = FabricConfig::default();
    let life = usual.link.life.for_crowding(record.crowding);
    let link = LinkConfig { life, ..usual.link };
    FabricConfig { link, poll_for: Nanos(record.poll_ns), ..usual }
}

/// Waits until all others are there and their clocks are compared, or one of them has something to
/// say already, or patience ends.
fn settle<A: Arch>(arch: &mut A, links: &mut MachineLinks) -> Result<(), JoinError> {
    let started = arch.now();
    let until = started + PEERS_PATIENCE;
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
