//! A process that pauses: suspended, paged out, or on a node that lost its network for a while.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// While it is closed, futures behind it are not polled.
#[derive(Clone, Default)]
pub struct Gate {
    closed: Arc<AtomicBool>,
    waker: Arc<Mutex<Option<Waker>>>,
}

impl Gate {
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// From outside.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    pub fn open(&self) {
        self.closed.store(false, Ordering::SeqCst);
        if let Some(waker) = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take() {
            waker.wake();
        }
    }

    /// Called from behind the gate: closes it, and continues once it is open again.
    pub async fn sleep(&self) {
        self.closed.store(true, Ordering::SeqCst);
        tokio::task::yield_now().await;
    }

    /// Puts `work` behind the gate.
    pub fn guard<F: Future>(&self, work: F) -> Guarded<F> {
        Guarded { work: Box::pin(work), gate: self.clone() }
    }
}

pub struct Guarded<F> {
    work: Pin<Box<F>>,
    gate: Gate,
}

impl<F: Future> Future for Guarded<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        if self.gate.is_closed() {
            *self.gate.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(context.waker().clone());
            return Poll::Pending;
        }
        self.work.as_mut().poll(context)
    }
}
