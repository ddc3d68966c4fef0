//! The kernel core: threads, processes, system calls, signals.
#![no_std]
