//! What an instance and the launcher have to say to each other beside a program's streams.

use alloc::vec::Vec;

use maize_hal::Nanos;
use maize_hostlink::LauncherMessage;
use maize_wire::InstanceId;

use crate::console::flush_if_free;
use crate::fabric::MachineLinks;
use crate::siblings::{Siblings, has_stopped, leave, membership, must_stop};
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
    let mut again = pass_frames(links, link, now);
    let stopped = |(peer, epoch): &(InstanceId, u32)| has_stopped(peer.0, *epoch);
    let stopped: Vec<_> = links.awaiting_stop().filter(stopped).collect();
    for (peer, epoch) in stopped {
        links.confirm_stopped(now, peer, epoch);
    }
    while let Some((to, order)) = link.take_order() {
        again = true;
        if to != link.instance() {
            order_sibling(links, now, to, order);
            continue;
        }
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
    flush_if_free();
    again
}

/// Moves frames between the launcher and instances that have no stream to it: their own instance's
/// to the one that passes them on, and those of others to the stream.
fn pass_frames<S: ByteStream>(
    links: &mut MachineLinks,
    link: &mut HostLink<S>,
    now: Nanos,
) -> bool {
    let mut moved = false;
    while let Some((from, frames)) = links.take_host_frames() {
        moved = true;
        let taken = match link.through() {
            Some(through) if through == from.0 => {
                link.hear(&frames);
                true
            }
            Some(_) => false,
            None => is_sibling(from.0) && link.pass_on(from.0, &frames),
        };
        if !taken {
            log::warn!("{from} has sent something to the launcher that it may not");
        }
    }
    if let Some(through) = link.through() {
        while let Some(frame) = link.first_frame()
            && links.send_host_frames(now, InstanceId(through), frame)
        {
            link.drop_frame();
            moved = true;
        }
    }
    if moved {
        links.notify();
    }
    moved
}

fn is_sibling(number: u16) -> bool {
    membership().is_some_and(|membership| membership.place(number).is_some())
}

/// Passes the launcher's word on to the sibling that it is for.
fn order_sibling(links: &mut MachineLinks, now: Nanos, to: u16, order: LauncherMessage) {
    let mut frame = Vec::new();
    let encoded = is_sibling(to) && order.encode(to, &mut frame).is_ok();
    if encoded && links.send_host_frames(now, InstanceId(to), &frame) {
        links.notify();
    } else {
        log::warn!("the launcher's {order:?} does not reach instance {to}");
    }
}

fn said(taken: bool, instance: u16) {
    if !taken {
        log::warn!("instance {instance} is none that can be started or stopped here");
    }
}
