//! A session's outside: what others hold to send to it, and the budget that bounds what waits.
//!
//! The sender charges the budget, the transport releases it once the bytes are written. An actix
//! mailbox counts messages and its `do_send` ignores even that, so the bound is here, in bytes.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix::{Message, Recipient};
use bytes::Bytes;
use thiserror::Error;

use crate::{Close, Data, Packet};

/// One session, from any thread. Cloning is one reference count.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

struct Shared {
    session: Recipient<Command>,
    budget: Budget,
}

/// Why a packet was not taken.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Undeliverable {
    /// The outbox is full; the session is being cut.
    #[error("the connection reads too slowly")]
    Slow,
    /// The session has ended, or is about to.
    #[error("the connection has ended")]
    Gone,
}

impl Handle {
    pub(crate) fn new(session: Recipient<Command>, limit: usize) -> Self {
        let budget = Budget { waiting: AtomicUsize::new(0), limit };
        Self { shared: Arc::new(Shared { session, budget }) }
    }

    /// Sends a packet that was framed for all its receivers.
    ///
    /// # Errors
    /// It will not arrive. A session whose outbox is full is cut as [`Close::Slow`].
    pub fn send(&self, packet: &Packet) -> Result<(), Undeliverable> {
        self.deliver(None, packet)
    }

    /// The same, for a client that has joined that namespace, or is about to.
    pub(crate) fn send_to(
        &self,
        namespace: &Arc<str>,
        packet: &Packet,
    ) -> Result<(), Undeliverable> {
        self.deliver(Some(namespace.clone()), packet)
    }

    fn deliver(&self, namespace: Option<Arc<str>>, packet: &Packet) -> Result<(), Undeliverable> {
        if !self.shared.session.connected() {
            return Err(Undeliverable::Gone);
        }
        match self.shared.budget.charge(packet.size()) {
            Charge::Within => {
                self.command(Command::Send { namespace, packet: packet.clone() });
                Ok(())
            }
            Charge::Exceeds => {
                self.command(Command::Close(Close::Slow));
                Err(Undeliverable::Slow)
            }
            Charge::Cut => Err(Undeliverable::Gone),
        }
    }

    /// Sends an event; `payload` is a JSON array, its name first, with placeholders for attachments.
    pub fn emit(&self, namespace: &str, payload: String, attachments: Vec<Bytes>) {
        let size = size(&payload, &attachments);
        self.charged(size, |charge| Command::Emit {
            namespace: namespace.into(),
            payload,
            attachments,
            charge,
        });
    }

    /// Sends an event that asks for an answer, [`crate::Event::Ack`] with this `id`.
    pub fn ask(&self, namespace: &str, id: u64, payload: String, attachments: Vec<Bytes>) {
        let size = size(&payload, &attachments);
        self.charged(size, |charge| Command::Ask {
            namespace: namespace.into(),
            id,
            payload,
            attachments,
            charge,
        });
    }

    /// Answers the client's event `id`; `payload` is a JSON array.
    pub fn acknowledge(&self, namespace: &str, id: u64, payload: String, attachments: Vec<Bytes>) {
        let size = size(&payload, &attachments);
        self.charged(size, |charge| Command::Acknowledge {
            namespace: namespace.into(),
            id,
            payload,
            attachments,
            charge,
        });
    }

    /// Sends a message, where there is no Socket.IO.
    pub fn message(&self, data: Data) {
        let size = COMMAND_OVERHEAD
            + match &data {
                Data::Text(text) => text.len(),
                Data::Binary(data) => data.len(),
            };
        self.charged(size, |charge| Command::Message { data, charge });
    }

    /// Puts the client out of a namespace: the stock client does not come back by itself.
    pub fn leave(&self, namespace: &str) {
        self.command(Command::Leave { namespace: namespace.into() });
    }

    /// Ends the connection, once what waits has been sent. The stock client comes back unless the
    /// reason forbids it.
    pub fn close(&self, reason: Close) {
        self.command(Command::Close(reason));
    }

    /// Sends a command that carries something; a session that is told too much at once is cut.
    fn charged(&self, size: usize, command: impl FnOnce(usize) -> Command) {
        match self.shared.budget.charge(size) {
            Charge::Within => self.command(command(size)),
            Charge::Exceeds => self.command(Command::Close(Close::Slow)),
            Charge::Cut => {}
        }
    }

    /// Bytes that may wait for the connection.
    pub fn capacity(&self) -> usize {
        self.shared.budget.limit
    }

    pub(crate) fn budget(&self) -> &Budget {
        &self.shared.budget
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "what carries something is bounded by the budget; endings are few"
    )]
    fn command(&self, command: Command) {
        self.shared.session.do_send(command);
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.shared.budget.waiting.load(Ordering::Relaxed);
        f.debug_struct("Handle").field("waiting", &waiting).finish_non_exhaustive()
    }
}

/// What an event or an answer takes while it waits to be encoded.
fn size(payload: &str, attachments: &[Bytes]) -> usize {
    payload.len() + attachments.iter().map(Bytes::len).sum::<usize>() + COMMAND_OVERHEAD
}

/// Bytes of a queued command besides what it carries, about.
const COMMAND_OVERHEAD: usize = 256;

/// What a session is told from outside.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) enum Command {
    /// Its size is charged already.
    Send {
        /// In which it is heard; in any, if none is named.
        namespace: Option<Arc<str>>,
        packet: Packet,
    },
    Emit {
        namespace: Box<str>,
        payload: String,
        attachments: Vec<Bytes>,
        /// What it is charged for, until it is encoded.
        charge: usize,
    },
    Ask {
        namespace: Box<str>,
        id: u64,
        payload: String,
        attachments: Vec<Bytes>,
        charge: usize,
    },
    Acknowledge {
        namespace: Box<str>,
        id: u64,
        payload: String,
        attachments: Vec<Bytes>,
        charge: usize,
    },
    Message {
        data: Data,
        charge: usize,
    },
    Leave {
        namespace: Box<str>,
    },
    Close(Close),
}

/// Bytes waiting for a connection, in its mailbox and its outbox together.
pub(crate) struct Budget {
    waiting: AtomicUsize,
    limit: usize,
}

/// The budget's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Charge {
    Within,
    /// Too much, for the first time.
    Exceeds,
    /// It has been too much before; the session is on its way out.
    Cut,
}

/// A bit far above any limit: a budget that was exceeded once stays so.
const CUT: usize = 1 << (usize::BITS - 2);

impl Budget {
    pub(crate) fn charge(&self, bytes: usize) -> Charge {
        let before = self.waiting.fetch_add(bytes, Ordering::Relaxed);
        if before & CUT != 0 {
            Charge::Cut
        } else if before.saturating_add(bytes) <= self.limit {
            Charge::Within
        } else if self.waiting.fetch_or(CUT, Ordering::Relaxed) & CUT != 0 {
            Charge::Cut
        } else {
            Charge::Exceeds
        }
    }

    /// Charges what must be sent whatever waits; for the few frames of a beginning and an end.
    pub(crate) fn add(&self, bytes: usize) {
        self.waiting.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Nothing more is taken.
    pub(crate) fn cut(&self) {
        self.waiting.fetch_or(CUT, Ordering::Relaxed);
    }

    pub(crate) fn release(&self, bytes: usize) {
        self.waiting.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budget_is_exceeded_once_and_stays_so() {
        let budget = Budget { waiting: AtomicUsize::new(0), limit: 10 };
        assert_eq!(budget.charge(6), Charge::Within);
        assert_eq!(budget.charge(4), Charge::Within);
        budget.release(10);
        assert_eq!(budget.charge(10), Charge::Within);
        assert_eq!(budget.charge(1), Charge::Exceeds);
        assert_eq!(budget.charge(1), Charge::Cut);
        budget.release(10);
        assert_eq!(budget.charge(1), Charge::Cut);
    }
}
