//! Faults on the real stack.
