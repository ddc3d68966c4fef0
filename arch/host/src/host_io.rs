//! A host whose input is written beforehand and whose output is kept.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use maize_hal::{HostEvent, HostIo, OutputStream, Report};

#[derive(Debug, Default)]
struct Record {
    events: VecDeque<HostEvent>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    reports: Vec<Report>,
    /// Bytes of output taken in one go; `None` for all.
    room: Option<usize>,
}

/// A host for tests. Clones are the same host.
#[derive(Clone, Debug, Default)]
pub struct ScriptedHost(Rc<RefCell<Record>>);

impl ScriptedHost {
    /// Adds an event. The machine's [`crate::Wires`] must raise `HOST` for a halted kernel to see
    /// it.
    pub fn push(&self, event: HostEvent) {
        self.0.borrow_mut().events.push_back(event);
    }

    /// Takes at most `bytes` of output in one go from now on.
    pub fn limit_room(&self, bytes: usize) {
        self.0.borrow_mut().room = Some(bytes);
    }

    /// What was written to standard output.
    #[must_use]
    pub fn stdout(&self) -> Vec<u8> {
        self.0.borrow().stdout.clone()
    }

    /// What was written to standard error.
    #[must_use]
    pub fn stderr(&self) -> Vec<u8> {
        self.0.borrow().stderr.clone()
    }

    /// What was reported.
    #[must_use]
    pub fn reports(&self) -> Vec<Report> {
        self.0.borrow().reports.clone()
    }
}

impl HostIo for ScriptedHost {
    fn write(&mut self, stream: OutputStream, bytes: &[u8]) -> usize {
        let mut record = self.0.borrow_mut();
        let len = bytes.len().min(record.room.unwrap_or(usize::MAX));
        let out = match stream {
            OutputStream::Stdout => &mut record.stdout,
            OutputStream::Stderr => &mut record.stderr,
        };
        out.extend_from_slice(&bytes[..len]);
        len
    }

    fn poll(&mut self) -> Option<HostEvent> {
        self.0.borrow_mut().events.pop_front()
    }

    fn consumed(&mut self, _: usize) {}

    fn report(&mut self, report: Report) {
        self.0.borrow_mut().reports.push(report);
    }

    fn flushed(&mut self) -> bool {
        true
    }
}
