//! Signals that have been sent and not yet taken.

use alloc::collections::VecDeque;

use maize_abi::signal::{SigFields, SigInfo, Signal, SignalSet, si_code};

/// The pending signals of a thread or of a process, in the order in which they were sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct PendingSignals {
    set: SignalSet,
    queue: VecDeque<SigInfo>,
}

impl PendingSignals {
    /// The signals that are pending.
    pub(crate) fn set(&self) -> SignalSet {
        self.set
    }

    /// The signals that something came along with, in order.
    pub(crate) fn queued(&self) -> impl Iterator<Item = SigInfo> + '_ {
        self.queue.iter().copied()
    }

    /// What [`Self::set`] and [`Self::queued`] were of.
    pub(crate) fn restored(set: SignalSet, queue: VecDeque<SigInfo>) -> PendingSignals {
        let set = queue.iter().fold(set, |set, info| set.union(SignalSet::of(info.signal)));
        PendingSignals { set, queue }
    }

    /// Adds a signal. A signal below [`Signal::RTMIN`] that is pending already stays as it is; a
    /// real-time signal queues, up to `limit` in all, and returns false beyond that.
    pub(crate) fn push(&mut self, info: SigInfo, limit: u64) -> bool {
        if let SigFields::Timer { .. } = info.fields {
            // One for each timer at most, which had its room when the timer was made.
            self.set.insert(info.signal);
            self.queue.push_back(info);
            return true;
        }
        if !info.signal.is_realtime() && self.set.contains(info.signal) {
            return true;
        }
        if self.queue.len() as u64 >= limit {
            if info.signal.is_realtime() {
                return false;
            }
            // The signal is never lost, only what came with it: as on Linux.
            self.set.insert(info.signal);
            return true;
        }
        self.set.insert(info.signal);
        self.queue.push_back(info);
        true
    }

    /// Takes the signal of `wanted` that is to be handled first: a fault's, else the lowest
    /// number, and of one number the oldest.
    pub(crate) fn take(&mut self, wanted: SignalSet) -> Option<SigInfo> {
        const SYNCHRONOUS: SignalSet = SignalSet(
            SignalSet::of(Signal::SIGSEGV).0
                | SignalSet::of(Signal::SIGBUS).0
                | SignalSet::of(Signal::SIGILL).0
                | SignalSet::of(Signal::SIGTRAP).0
                | SignalSet::of(Signal::SIGFPE).0
                | SignalSet::of(Signal::SIGSYS).0,
        );
        let candidates = self.set.intersection(wanted);
        let signal = candidates.intersection(SYNCHRONOUS).first().or_else(|| candidates.first())?;
        let found = self.queue.iter().position(|info| info.signal == signal);
        let info = found.and_then(|at| self.queue.remove(at)).unwrap_or(SigInfo {
            signal,
            code: si_code::SI_USER,
            errno: 0,
            fields: SigFields::Sender { pid: 0, uid: 0, value: 0 },
        });
        if !self.queue.iter().any(|info| info.signal == signal) {
            self.set.remove(signal);
        }
        Some(info)
    }

    /// Forgets the signals of timers whose numbers these are.
    pub(crate) fn discard_timers(&mut self, which: impl Fn(u32) -> bool) {
        let of = |info: &SigInfo| matches!(info.fields, SigFields::Timer { id, .. } if which(id));
        let gone: SignalSet = self
            .queue
            .iter()
            .filter(|info| of(info))
            .fold(SignalSet::EMPTY, |set, info| set.union(SignalSet::of(info.signal)));
        self.queue.retain(|info| !of(info));
        let left = self
            .queue
            .iter()
            .fold(SignalSet::EMPTY, |set, info| set.union(SignalSet::of(info.signal)));
        self.set = self.set.difference(gone.difference(left));
    }

    /// Forgets the signals of `set`.
    pub(crate) fn discard(&mut self, set: SignalSet) {
        self.set = self.set.difference(set);
        self.queue.retain(|info| !set.contains(info.signal));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn realtime(value: u64) -> SigInfo {
        let signal = Signal::new(40).unwrap();
        SigInfo { signal, code: -1, errno: 0, fields: SigFields::Sender { pid: 1, uid: 0, value } }
    }

    #[test]
    fn realtime_signals_queue_and_others_do_not() {
        let mut p = PendingSignals::default();
        assert!(p.push(realtime(1), 10));
        assert!(p.push(realtime(2), 10));
        p.push(SigInfo::from_kernel(Signal::SIGUSR1), 10);
        p.push(SigInfo::from_kernel(Signal::SIGUSR1), 10);
        let all = SignalSet(u64::MAX);
        assert_eq!(p.take(all).map(|i| i.signal), Some(Signal::SIGUSR1));
        assert_eq!(p.take(all), Some(realtime(1)));
        assert_eq!(p.take(all), Some(realtime(2)));
        assert_eq!(p.take(all), None);
    }

    #[test]
    fn a_full_queue_refuses_realtime_signals_and_keeps_others() {
        let mut p = PendingSignals::default();
        assert!(p.push(realtime(1), 1));
        assert!(!p.push(realtime(2), 1));
        assert!(p.push(SigInfo::from_kernel(Signal::SIGTERM), 1));
        assert_eq!(p.take(SignalSet(u64::MAX)).map(|i| i.signal), Some(Signal::SIGTERM));
    }

    #[test]
    fn signals_of_a_timer_go_with_it() {
        let of_timer = |id| {
            let fields = SigFields::Timer { id, overrun: 0, value: 0 };
            SigInfo { signal: Signal::SIGALRM, code: si_code::SI_TIMER, errno: 0, fields }
        };
        let mut p = PendingSignals::default();
        p.push(SigInfo::from_kernel(Signal::SIGTERM), 10);
        // Each timer has its own, whatever the signal.
        assert!(p.push(of_timer(1), 0) && p.push(of_timer(2), 0));
        p.discard_timers(|id| id == 1);
        assert!(p.set().contains(Signal::SIGALRM));
        p.discard_timers(|id| id == 2);
        assert_eq!(p.set(), SignalSet::of(Signal::SIGTERM));
        assert_eq!(p.queued().count(), 1);
    }

    #[test]
    fn faults_come_first() {
        let mut p = PendingSignals::default();
        p.push(SigInfo::from_kernel(Signal::SIGHUP), 10);
        p.push(SigInfo::from_kernel(Signal::SIGSEGV), 10);
        assert_eq!(p.take(SignalSet(u64::MAX)).map(|i| i.signal), Some(Signal::SIGSEGV));
    }
}
