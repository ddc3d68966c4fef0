//! The wire format between instances.
#![no_std]
