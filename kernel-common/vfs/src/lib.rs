//! Files: the tree, tmpfs over a read-only image, pipes, terminals, proc.
#![no_std]
