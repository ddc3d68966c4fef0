//! Queues of bytes.

use alloc::collections::VecDeque;

/// Copies the first bytes of a queue and returns how many there were.
pub(crate) fn peek(queue: &VecDeque<u8>, out: &mut [u8]) -> usize {
    let (front, back) = queue.as_slices();
    let first = front.len().min(out.len());
    out[..first].copy_from_slice(&front[..first]);
    let second = back.len().min(out.len() - first);
    out[first..first + second].copy_from_slice(&back[..second]);
    first + second
}

/// Takes the first bytes of a queue and returns how many there were.
pub(crate) fn take(queue: &mut VecDeque<u8>, out: &mut [u8]) -> usize {
    let count = peek(queue, out);
    queue.drain(..count);
    count
}
