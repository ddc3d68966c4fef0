//! Starts machines and connects programs to the terminal.
#![no_std]
