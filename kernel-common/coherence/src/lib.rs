//! Page coherency as pure state machines.
#![no_std]
