//! The host link, shared by the core and by the instance's links.

use alloc::rc::Rc;
use core::cell::{Cell, OnceCell, RefCell};

use maize_hal::{HostEvent, HostIo, OutputStream, Report};

use crate::fabric::MachineLinks;
use crate::{ByteStream, HostLink};

/// The core's end of a host link that others use too. Nobody holds the link or the links while the
/// core runs.
pub(crate) struct SharedLink<S> {
    link: Rc<RefCell<HostLink<S>>>,
    links: SharedLinks,
    shutdown: Rc<Cell<bool>>,
}

/// The links of an instance, from when it has joined its fabric; an instance that is alone has none.
pub(crate) type SharedLinks = Rc<OnceCell<Rc<RefCell<MachineLinks>>>>;

impl<S> SharedLink<S> {
    pub(crate) fn new(link: Rc<RefCell<HostLink<S>>>, links: SharedLinks) -> SharedLink<S> {
        SharedLink { link, links, shutdown: Rc::default() }
    }

    /// Whether the launcher has asked the instance to end.
    pub(crate) fn shutdown(&self) -> Rc<Cell<bool>> {
        self.shutdown.clone()
    }
}

impl<S: ByteStream> HostIo for SharedLink<S> {
    fn write(&mut self, stream: OutputStream, bytes: &[u8]) -> usize {
        self.link.borrow_mut().write(stream, bytes)
    }

    fn poll(&mut self) -> Option<HostEvent> {
        let event = self.link.borrow_mut().poll();
        if event == Some(HostEvent::Shutdown) {
            self.shutdown.set(true);
        }
        event
    }

    fn consumed(&mut self, bytes: usize) {
        self.link.borrow_mut().consumed(bytes);
    }

    fn report(&mut self, mut report: Report) {
        if let (Report::Stats { counters }, Some(links)) = (&mut report, self.links.get()) {
            counters.extend(links.borrow().counts());
        }
        self.link.borrow_mut().report(report);
    }

    fn flushed(&mut self) -> bool {
        self.link.borrow_mut().flushed()
    }
}
