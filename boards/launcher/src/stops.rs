//! When a machine is stopped and when it runs: for peers that have given one of its instances up,
//! and for whoever holds it.
//!
//! An instance that was silent for too long is given up by its peers, but it may only have been
//! stopped. Before they reuse what it could write they ask for the confirmation that it is stopped
//! now; once every asker has been answered it may run again, finds itself given up, and returns
//! under a new epoch. This is the decision alone, without a process:
//!
//! | state | asked | seen stopped | held | released | ended |
//! |---|---|---|---|---|---|
//! | running | stop it → stopping | | stop it → stopping | | answered at once |
//! | stopping | noted | answer all; resume it unless held | held | not held | answer all |
//! | stopped (held) | answered at once | | | resume it → running | answer all |
//!
//! A machine that somebody else has stopped is answered for and left as it is.

/// Who asks about which incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The instance that asks.
    pub by: u16,
    /// The instance that it has given up.
    pub peer: u16,
    /// In which incarnation.
    pub epoch: u32,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Stop this machine's process, and tell with [`Stops::seen_stopped`] when it is.
    Stop(usize),
    /// Let it run.
    Resume(usize),
    /// Tell that the incarnation is stopped.
    Answer(Ask),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    Stopping,
    Stopped,
    Ended,
}

#[derive(Debug)]
struct Machine {
    state: State,
    held: bool,
    asked: Vec<Ask>,
}

/// The machines of a fabric.
#[derive(Debug)]
pub struct Stops {
    machines: Vec<Machine>,
}

impl Stops {
    /// Machines that run.
    #[must_use]
    pub fn new(machines: usize) -> Self {
        let running = || Machine { state: State::Running, held: false, asked: Vec::new() };
        Self { machines: (0..machines).map(|_| running()).collect() }
    }

    /// An instance asks for the stop of an incarnation on `machine`; `stopped_by_others` if its
    /// process is stopped, and not by this.
    pub fn ask(&mut self, machine: usize, ask: Ask, stopped_by_others: bool) -> Vec<Action> {
        let Some(this) = self.machines.get_mut(machine) else { return Vec::new() };
        match this.state {
            State::Ended | State::Stopped => vec![Action::Answer(ask)],
            State::Running if stopped_by_others => vec![Action::Answer(ask)],
            State::Running => {
                this.state = State::Stopping;
                this.asked.push(ask);
                vec![Action::Stop(machine)]
            }
            State::Stopping => {
                if !this.asked.contains(&ask) {
                    this.asked.push(ask);
                }
                Vec::new()
            }
        }
    }

    /// The machine is to stay stopped until it is released.
    pub fn hold(&mut self, machine: usize) -> Vec<Action> {
        let Some(this) = self.machines.get_mut(machine) else { return Vec::new() };
        this.held = true;
        match this.state {
            State::Running => {
                this.state = State::Stopping;
                vec![Action::Stop(machine)]
            }
            State::Stopping | State::Stopped | State::Ended => Vec::new(),
        }
    }

    /// The machine may run, once nobody waits for its stop.
    pub fn release(&mut self, machine: usize) -> Vec<Action> {
        let Some(this) = self.machines.get_mut(machine) else { return Vec::new() };
        this.held = false;
        match this.state {
            State::Stopped => {
                this.state = State::Running;
                vec![Action::Resume(machine)]
            }
            State::Running | State::Stopping | State::Ended => Vec::new(),
        }
    }

    /// The machines whose process was asked to stop and is not known to have.
    pub fn stopping(&self) -> impl Iterator<Item = usize> + '_ {
        let stopping = |(_, machine): &(usize, &Machine)| machine.state == State::Stopping;
        self.machines.iter().enumerate().filter(stopping).map(|(index, _)| index)
    }

    /// The machine's process is stopped, all of its threads.
    pub fn seen_stopped(&mut self, machine: usize) -> Vec<Action> {
        let Some(this) = self.machines.get_mut(machine) else { return Vec::new() };
        if this.state != State::Stopping {
            return Vec::new();
        }
        let mut actions: Vec<Action> = this.asked.drain(..).map(Action::Answer).collect();
        this.state = if this.held { State::Stopped } else { State::Running };
        if !this.held {
            actions.push(Action::Resume(machine));
        }
        actions
    }

    /// The machine's process has ended: it is as stopped as can be.
    pub fn ended(&mut self, machine: usize) -> Vec<Action> {
        let Some(this) = self.machines.get_mut(machine) else { return Vec::new() };
        this.state = State::Ended;
        this.held = false;
        this.asked.drain(..).map(Action::Answer).collect()
    }

    /// The machine was started again.
    pub fn restarted(&mut self, machine: usize) {
        if let Some(this) = self.machines.get_mut(machine) {
            *this = Machine { state: State::Running, held: false, asked: Vec::new() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(by: u16) -> Ask {
        Ask { by, peer: 1, epoch: 3 }
    }

    #[test]
    fn a_machine_runs_again_once_every_asker_was_answered() {
        let mut stops = Stops::new(2);
        assert_eq!(stops.ask(1, ask(0), false), [Action::Stop(1)]);
        assert_eq!(stops.ask(1, ask(2), false), []);
        assert_eq!(stops.ask(1, ask(2), false), [], "asked twice");
        assert_eq!(stops.stopping().collect::<Vec<_>>(), [1]);
        let answers = [Action::Answer(ask(0)), Action::Answer(ask(2)), Action::Resume(1)];
        assert_eq!(stops.seen_stopped(1), answers);
        assert_eq!(stops.stopping().count(), 0);
        assert_eq!(stops.seen_stopped(1), [], "told twice");
        assert_eq!(
            stops.ask(1, ask(0), false),
            [Action::Stop(1)],
            "it runs, so it is stopped again"
        );
    }

    #[test]
    fn a_machine_that_is_held_stays_stopped() {
        let mut stops = Stops::new(2);
        assert_eq!(stops.hold(1), [Action::Stop(1)]);
        assert_eq!(stops.ask(1, ask(0), false), []);
        assert_eq!(stops.seen_stopped(1), [Action::Answer(ask(0))]);
        assert_eq!(stops.ask(1, ask(2), false), [Action::Answer(ask(2))]);
        assert_eq!(stops.release(1), [Action::Resume(1)]);
        assert_eq!(stops.release(1), []);
    }

    #[test]
    fn a_release_waits_for_the_answers() {
        let mut stops = Stops::new(2);
        stops.hold(1);
        stops.ask(1, ask(0), false);
        assert_eq!(stops.release(1), []);
        assert_eq!(stops.seen_stopped(1), [Action::Answer(ask(0)), Action::Resume(1)]);
    }

    #[test]
    fn who_has_ended_is_stopped() {
        let mut stops = Stops::new(2);
        stops.ask(1, ask(0), false);
        assert_eq!(stops.ended(1), [Action::Answer(ask(0))]);
        assert_eq!(stops.ask(1, ask(2), false), [Action::Answer(ask(2))]);
        assert_eq!((stops.hold(1), stops.release(1)), (vec![], vec![]));
        stops.restarted(1);
        assert_eq!(stops.ask(1, ask(2), false), [Action::Stop(1)]);
    }

    #[test]
    fn what_somebody_else_stopped_is_left_to_them() {
        let mut stops = Stops::new(2);
        assert_eq!(stops.ask(1, ask(0), true), [Action::Answer(ask(0))]);
        assert_eq!(stops.stopping().count(), 0);
        assert_eq!(stops.ask(7, ask(0), false), [], "no such machine");
    }
}
