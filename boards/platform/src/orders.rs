//! What an instance and the launcher have to say to each other beside a program's streams.

use maize_hal::Nanos;
use maize_hostlink::LauncherMessage;
use maize_wire::InstanceId;

use crate::fabric::MachineLinks;
use crate::siblings::{Siblings, leave, must_stop};
use crate::{ByteStream, End, HostLink};

/// Does what the launcher asks for, and tells it what the links have to tell. Returns whether there
/// may be more to do at once.
pub fn serve<S: ByteStream>(
    links: &mut MachineLinks,
    link: &mut HostLink<S>,
    mut siblings: Option<&mut Siblings>,
    now: Nanos,
) -> bool {
    if must_stop() {
        links.leave(now);
        leave();
        crate::end(End::Done)
    }
    let mut again = false;
    while let Some((_, order)) = link.take_order() {
        again = true;
        match (order, siblings.as_deref_mut()) {
            (LauncherMessage::PeerStopped { peer, epoch }, _) => {
                links.confirm_stopped(now, InstanceId(peer), epoch);
            }
            (LauncherMessage::StopInstance { instance }, Some(siblings)) => {
                said(siblings.stop(instance, now), instance);
            }
            (LauncherMessage::StartInstance { instance }, Some(siblings)) => {
                said(siblings.start(instance, now), instance);
            }
            (other, _) => log::warn!("the launcher asked for {other:?}, which is not possible"),
        }
    }
    if let Some(siblings) = siblings {
        while let Some((number, news)) = siblings.poll(now) {
            log::info!("instance {number} {news}");
        }
        again |= siblings.is_busy();
    }
    while let Some(report) = links.take_report() {
        link.tell(&report);
    }
    link.pump();
    again
}

fn said(taken: bool, instance: u16) {
    if !taken {
        log::warn!("instance {instance} is none that can be started or stopped here");
    }
}
