//! Signals: numbers, sets, `siginfo`, actions and what a handler's frame is made from.

use alloc::vec::Vec;

/// A signal number, 1 to 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(u8);

macro_rules! signals {
    ($($name:ident $n:literal)*) => {
        impl Signal {
            $(#[doc = concat!("Linux's ", stringify!($name), ".")] pub const $name: Signal = Signal($n);)*
        }
    };
}

signals! {
    SIGHUP 1 SIGINT 2 SIGQUIT 3 SIGILL 4 SIGTRAP 5 SIGABRT 6 SIGBUS 7 SIGFPE 8 SIGKILL 9 SIGUSR1 10
    SIGSEGV 11 SIGUSR2 12 SIGPIPE 13 SIGALRM 14 SIGTERM 15 SIGSTKFLT 16 SIGCHLD 17 SIGCONT 18
    SIGSTOP 19 SIGTSTP 20 SIGTTIN 21 SIGTTOU 22 SIGURG 23 SIGXCPU 24 SIGXFSZ 25 SIGVTALRM 26
    SIGPROF 27 SIGWINCH 28 SIGIO 29 SIGPWR 30 SIGSYS 31
}

/// What a signal does to a process that neither handles nor ignores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultAction {
    /// Ends the process.
    Terminate,
    /// Ends the process; Linux would also write a core file.
    Core,
    /// Nothing.
    Ignore,
    /// Stops the process until SIGCONT.
    Stop,
    /// Continues a stopped process.
    Continue,
}

impl Signal {
    /// The largest number.
    pub const MAX: u8 = 64;
    /// The first real-time signal, from which on signals queue.
    pub const RTMIN: u8 = 32;

    /// The signal of number `n`, if there is one.
    #[must_use]
    pub const fn new(n: u64) -> Option<Signal> {
        if n >= 1 && n <= Signal::MAX as u64 { Some(Signal(n as u8)) } else { None }
    }

    /// The number, 1 to 64.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Real-time signals queue; the others are pending at most once.
    #[must_use]
    pub const fn is_realtime(self) -> bool {
        self.0 >= Signal::RTMIN
    }

    /// What happens where no action is installed.
    #[must_use]
    pub const fn default_action(self) -> DefaultAction {
        match self {
            Signal::SIGCHLD | Signal::SIGURG | Signal::SIGWINCH => DefaultAction::Ignore,
            Signal::SIGSTOP | Signal::SIGTSTP | Signal::SIGTTIN | Signal::SIGTTOU => {
                DefaultAction::Stop
            }
            Signal::SIGCONT => DefaultAction::Continue,
            Signal::SIGQUIT
            | Signal::SIGILL
            | Signal::SIGTRAP
            | Signal::SIGABRT
            | Signal::SIGBUS
            | Signal::SIGFPE
            | Signal::SIGSEGV
            | Signal::SIGXCPU
            | Signal::SIGXFSZ
            | Signal::SIGSYS => DefaultAction::Core,
            _ => DefaultAction::Terminate,
        }
    }
}

/// A set of signals, bit `n - 1` for signal `n`: the kernel's `sigset_t`, 8 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
pub struct SignalSet(pub u64);

impl SignalSet {
    /// No signal.
    pub const EMPTY: SignalSet = SignalSet(0);

    /// The set of one signal.
    #[must_use]
    pub const fn of(signal: Signal) -> SignalSet {
        SignalSet(1 << (signal.0 - 1))
    }

    /// Whether `signal` is in the set.
    #[must_use]
    pub const fn contains(self, signal: Signal) -> bool {
        self.0 & SignalSet::of(signal).0 != 0
    }

    /// Adds `signal`.
    pub const fn insert(&mut self, signal: Signal) {
        self.0 |= SignalSet::of(signal).0;
    }

    /// Removes `signal`.
    pub const fn remove(&mut self, signal: Signal) {
        self.0 &= !SignalSet::of(signal).0;
    }

    /// The set without SIGKILL and SIGSTOP, which nothing can block.
    #[must_use]
    pub const fn blockable(self) -> SignalSet {
        SignalSet(self.0 & !(SignalSet::of(Signal::SIGKILL).0 | SignalSet::of(Signal::SIGSTOP).0))
    }

    /// The lowest-numbered signal of the set.
    #[must_use]
    pub const fn first(self) -> Option<Signal> {
        if self.0 == 0 { None } else { Some(Signal(self.0.trailing_zeros() as u8 + 1)) }
    }

    /// The signals in both sets.
    #[must_use]
    pub const fn intersection(self, other: SignalSet) -> SignalSet {
        SignalSet(self.0 & other.0)
    }

    /// The signals in either set.
    #[must_use]
    pub const fn union(self, other: SignalSet) -> SignalSet {
        SignalSet(self.0 | other.0)
    }

    /// The signals of this set that are not in `other`.
    #[must_use]
    pub const fn difference(self, other: SignalSet) -> SignalSet {
        SignalSet(self.0 & !other.0)
    }
}

/// Bytes of a `siginfo_t`.
pub const SIGINFO_LEN: usize = 128;

/// Linux's `siginfo_t`: the same 128 bytes on every 64-bit little-endian instruction set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SigInfo {
    /// The signal.
    pub signal: Signal,
    /// `si_code`: who sent it, or why.
    pub code: i32,
    /// `si_errno`.
    pub errno: i32,
    /// The part that depends on `code`: from byte 16 on.
    pub fields: SigFields,
}

/// What follows the first three words of a `siginfo_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigFields {
    /// Nothing of meaning.
    None,
    /// `si_pid`, `si_uid`, `si_value`: sent by `kill`, `tgkill`, `sigqueue`, a timer.
    Sender {
        /// Sending process.
        pid: u32,
        /// Its user.
        uid: u32,
        /// `si_value`, as a pointer-sized word.
        value: u64,
    },
    /// `si_addr`: a fault.
    Fault {
        /// Faulting address.
        address: u64,
    },
    /// `si_pid`, `si_uid`, `si_status`, times: SIGCHLD.
    Child {
        /// The child.
        pid: u32,
        /// Its user.
        uid: u32,
        /// Exit status or signal number.
        status: i32,
    },
    /// A timer: id, overrun, value.
    Timer {
        /// Kernel timer id.
        id: u32,
        /// Overrun count.
        overrun: u32,
        /// `si_value`.
        value: u64,
    },
    /// Bytes 16 to 128 as a program gave them (`rt_sigqueueinfo`), never looked into.
    Raw([u8; SIGINFO_LEN - 16]),
}

/// `si_code` values.
pub mod si_code {
    #![allow(missing_docs, reason = "the names are Linux's own")]
    pub const SI_USER: i32 = 0;
    pub const SI_KERNEL: i32 = 0x80;
    pub const SI_QUEUE: i32 = -1;
    pub const SI_TIMER: i32 = -2;
    pub const SI_TKILL: i32 = -6;
    pub const SEGV_MAPERR: i32 = 1;
    pub const SEGV_ACCERR: i32 = 2;
    pub const BUS_ADRALN: i32 = 1;
    pub const BUS_ADRERR: i32 = 2;
    pub const ILL_ILLOPC: i32 = 1;
    pub const ILL_ILLOPN: i32 = 2;
    pub const FPE_INTDIV: i32 = 1;
    pub const FPE_INTOVF: i32 = 2;
    pub const FPE_FLTDIV: i32 = 3;
    pub const FPE_FLTINV: i32 = 7;
    pub const TRAP_BRKPT: i32 = 1;
    pub const TRAP_TRACE: i32 = 2;
    pub const CLD_EXITED: i32 = 1;
    pub const CLD_KILLED: i32 = 2;
    pub const CLD_DUMPED: i32 = 3;
    pub const CLD_STOPPED: i32 = 5;
    pub const CLD_CONTINUED: i32 = 6;
}

impl SigInfo {
    /// A signal that the kernel itself sends.
    #[must_use]
    pub const fn from_kernel(signal: Signal) -> SigInfo {
        SigInfo { signal, code: si_code::SI_KERNEL, errno: 0, fields: SigFields::None }
    }

    /// The 128 bytes a program sees.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; SIGINFO_LEN] {
        let mut b = [0; SIGINFO_LEN];
        let mut put = |at: usize, bytes: &[u8]| b[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &i32::from(self.signal.0).to_le_bytes());
        put(4, &self.errno.to_le_bytes());
        put(8, &self.code.to_le_bytes());
        match self.fields {
            SigFields::None => {}
            SigFields::Sender { pid, uid, value } => {
                put(16, &pid.to_le_bytes());
                put(20, &uid.to_le_bytes());
                put(24, &value.to_le_bytes());
            }
            SigFields::Fault { address } => put(16, &address.to_le_bytes()),
            SigFields::Child { pid, uid, status } => {
                put(16, &pid.to_le_bytes());
                put(20, &uid.to_le_bytes());
                put(24, &status.to_le_bytes());
            }
            SigFields::Timer { id, overrun, value } => {
                put(16, &id.to_le_bytes());
                put(20, &overrun.to_le_bytes());
                put(24, &value.to_le_bytes());
            }
            SigFields::Raw(ref raw) => put(16, raw),
        }
        b
    }

    /// The 128 bytes that a read of a `signalfd` gives: a `struct signalfd_siginfo`.
    #[must_use]
    pub fn to_file_bytes(&self) -> [u8; SIGINFO_LEN] {
        let mut b = [0; SIGINFO_LEN];
        let mut put = |at: usize, bytes: &[u8]| b[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &u32::from(self.signal.0).to_le_bytes());
        put(4, &self.errno.to_le_bytes());
        put(8, &self.code.to_le_bytes());
        // `ssi_int` is the lower half of `ssi_ptr`.
        let value_bytes = |value: u64| (value.to_le_bytes(), (value as u32).to_le_bytes());
        match self.fields {
            SigFields::None => {}
            SigFields::Sender { pid, uid, value } => {
                let (pointer, int) = value_bytes(value);
                put(12, &pid.to_le_bytes());
                put(16, &uid.to_le_bytes());
                put(44, &int);
                put(48, &pointer);
            }
            SigFields::Fault { address } => put(72, &address.to_le_bytes()),
            SigFields::Child { pid, uid, status } => {
                put(12, &pid.to_le_bytes());
                put(16, &uid.to_le_bytes());
                put(40, &status.to_le_bytes());
            }
            SigFields::Timer { id, overrun, value } => {
                let (pointer, int) = value_bytes(value);
                put(24, &id.to_le_bytes());
                put(32, &overrun.to_le_bytes());
                put(44, &int);
                put(48, &pointer);
            }
            // As Linux takes what a program has queued: sender and value.
            SigFields::Raw(ref raw) => {
                put(12, &raw[..4]);
                put(16, &raw[4..8]);
                put(44, &raw[8..12]);
                put(48, &raw[8..16]);
            }
        }
        b
    }

    /// What a program passed to `rt_sigqueueinfo` for `signal`.
    #[must_use]
    pub fn from_program(signal: Signal, bytes: &[u8; SIGINFO_LEN]) -> SigInfo {
        let word = |at: usize| {
            i32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let mut raw = [0; SIGINFO_LEN - 16];
        raw.copy_from_slice(&bytes[16..]);
        SigInfo { signal, errno: word(4), code: word(8), fields: SigFields::Raw(raw) }
    }
}

/// Flags of a `sigaction`.
pub mod sa {
    #![allow(missing_docs, reason = "the names are Linux's own")]
    pub const SA_NOCLDSTOP: u64 = 1;
    pub const SA_NOCLDWAIT: u64 = 2;
    pub const SA_SIGINFO: u64 = 4;
    pub const SA_RESTORER: u64 = 0x0400_0000;
    pub const SA_ONSTACK: u64 = 0x0800_0000;
    pub const SA_RESTART: u64 = 0x1000_0000;
    pub const SA_NODEFER: u64 = 0x4000_0000;
    pub const SA_RESETHAND: u64 = 0x8000_0000;
}

/// Bytes of the kernel's `struct sigaction`: handler, flags, restorer, mask, 8 bytes each.
///
/// x86_64 and aarch64 have the same layout; a program of either may leave the restorer unset.
pub const SIGACTION_LEN: usize = 32;

/// One signal's action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SigAction {
    /// Address of the handler, or 0 (SIG_DFL) or 1 (SIG_IGN).
    pub handler: u64,
    /// [`sa`] flags.
    pub flags: u64,
    /// Where the handler returns to, valid with `SA_RESTORER`.
    pub restorer: u64,
    /// Signals blocked while the handler runs.
    pub mask: SignalSet,
}

impl SigAction {
    /// `handler` for the default action.
    pub const SIG_DFL: u64 = 0;
    /// `handler` for ignoring the signal.
    pub const SIG_IGN: u64 = 1;

    /// Reads the kernel's `struct sigaction`.
    #[must_use]
    pub fn from_bytes(b: &[u8; SIGACTION_LEN]) -> SigAction {
        let word = |at: usize| {
            let mut w = [0; 8];
            w.copy_from_slice(&b[at..at + 8]);
            u64::from_le_bytes(w)
        };
        SigAction {
            handler: word(0),
            flags: word(8),
            restorer: word(16),
            mask: SignalSet(word(24)),
        }
    }

    /// The kernel's `struct sigaction`.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; SIGACTION_LEN] {
        let mut b = [0; SIGACTION_LEN];
        let words = [self.handler, self.flags, self.restorer, self.mask.0];
        for (chunk, w) in b.chunks_exact_mut(8).zip(words) {
            chunk.copy_from_slice(&w.to_le_bytes());
        }
        b
    }
}

/// `struct sigaltstack`: the stack that `SA_ONSTACK` handlers run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AltStack {
    /// Lowest address.
    pub sp: u64,
    /// `SS_*` flags.
    pub flags: u32,
    /// Bytes.
    pub size: u64,
}

/// Bytes of a `struct sigaltstack`.
pub const ALTSTACK_LEN: usize = 24;

impl AltStack {
    /// `flags` of a thread that runs on its alternate stack.
    pub const SS_ONSTACK: u32 = 1;
    /// `flags` of no alternate stack.
    pub const SS_DISABLE: u32 = 2;
    /// `flags` bit: disarm while a handler runs.
    pub const SS_AUTODISARM: u32 = 1 << 31;
    /// No alternate stack.
    pub const NONE: AltStack = AltStack { sp: 0, flags: AltStack::SS_DISABLE, size: 0 };

    /// Whether `sp` lies on this stack.
    #[must_use]
    pub const fn holds(&self, sp: u64) -> bool {
        self.flags & Self::SS_DISABLE == 0 && sp > self.sp && sp - self.sp <= self.size
    }

    /// Reads a `struct sigaltstack`.
    #[must_use]
    pub fn from_bytes(b: &[u8; ALTSTACK_LEN]) -> AltStack {
        let word = |at: usize| {
            let mut w = [0; 8];
            w.copy_from_slice(&b[at..at + 8]);
            u64::from_le_bytes(w)
        };
        AltStack { sp: word(0), flags: word(8) as u32, size: word(16) }
    }

    /// The `struct sigaltstack`.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; ALTSTACK_LEN] {
        let mut b = [0; ALTSTACK_LEN];
        b[..8].copy_from_slice(&self.sp.to_le_bytes());
        b[8..12].copy_from_slice(&self.flags.to_le_bytes());
        b[16..].copy_from_slice(&self.size.to_le_bytes());
        b
    }
}

/// What a handler's frame is built from.
#[derive(Clone, Debug)]
pub struct Delivery<'a> {
    /// The signal and its reason.
    pub info: SigInfo,
    /// The action that is taken.
    pub action: SigAction,
    /// The mask to restore when the handler returns.
    pub mask: SignalSet,
    /// The alternate stack to restore, as `uc_stack`.
    pub altstack: AltStack,
    /// The stack pointer to push below: the interrupted one or the top of the alternate stack.
    pub stack_top: u64,
    /// Where the handler returns to if the action brings no restorer.
    pub trampoline: u64,
    /// The thread's FPU/SIMD state as `hal` saves it.
    pub fpu: &'a [u8],
}

/// A frame to write to the program's stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignalFrame {
    /// Virtual address of the first byte.
    pub address: u64,
    /// The frame.
    pub bytes: Vec<u8>,
}

/// What a frame holds besides the registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The signal mask from before the handler.
    pub mask: SignalSet,
    /// The alternate stack to set again.
    pub altstack: AltStack,
    /// Where the saved FPU state is, if the frame has one.
    pub fpu: Option<SavedFpu>,
}

/// The FPU state of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SavedFpu {
    /// The bytes themselves, in `hal`'s format.
    Inline(Vec<u8>),
    /// At this user address, so many bytes at most, in `hal`'s format.
    At {
        /// Virtual address of the first byte.
        address: u64,
        /// Bytes to read.
        len: usize,
    },
}

/// Why a frame that a program returned from cannot be restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadFrame {
    /// Shorter than a frame.
    Short,
    /// A register holds what user mode may not have.
    Register(&'static str),
}
