//! The end of a session: say why, send what waits, and leave in bounded time.

use std::task::{Context as Task, Poll};
use std::time::{Duration, Instant};

use protocol::{Close, Packet};

use super::polling::Progress;
use super::{Session, Transport, now};
use crate::Application;

#[derive(Clone, Copy, Debug)]
pub(super) struct Closing {
    pub(super) reason: Close,
    pub(super) deadline: Instant,
    last_words: bool,
}

impl Closing {
    /// Whether a session that polls still has to tell its client at the next GET.
    pub(super) fn waits_for_get(&self) -> bool {
        self.last_words
    }

    pub(super) fn no_more_words(&mut self) {
        self.last_words = false;
    }
}

/// How long an ending session may take to send what waits.
const FAREWELL: Duration = Duration::from_secs(5);

impl<A: Application> Session<A> {
    /// Begins the end. The first reason counts.
    pub(super) fn close(&mut self, reason: Close) {
        if self.closing.is_some() {
            return;
        }
        // What the client said before its goodbye still counts, and so does what it was told.
        while let Some(event) = self.connection.poll_event() {
            self.tell(event);
        }
        self.transmit();
        if self.closing.is_some() {
            return;
        }
        // Who cannot or will not read gets no last words.
        let last_words = !matches!(reason, Close::Transport | Close::Slow | Close::PingTimeout);
        self.closing = Some(Closing { reason, deadline: now() + FAREWELL, last_words });
        self.joining.clear();
        self.handle.budget().cut();
        self.dismiss(reason);
        match &mut self.transport {
            Transport::WebSocket(socket) if last_words => {
                let frame = Packet::close(reason.code(), reason.as_str());
                socket.push(frame.websocket().clone());
            }
            Transport::WebSocket(_) => {}
            Transport::Polling(polling) => {
                let gone = matches!(reason, Close::Client | Close::Protocol | Close::TooLarge);
                if polling.is_changing_over() && last_words && !gone {
                    // It polls no more, and listens to its WebSocket: so it is told there.
                    return;
                }
                polling.drop_probe();
                let told = match reason {
                    // The client that said goodbye expects nothing but its answer.
                    Close::Client => polling.answer(Some("6")).is_some(),
                    _ => polling.say_goodbye(),
                };
                if let Some(closing) = &mut self.closing
                    && (told || gone)
                {
                    closing.last_words = false;
                }
            }
        }
    }

    /// Its members leave: nobody counts on a session that is about to end.
    pub(super) fn dismiss(&mut self, reason: Close) {
        for (_, member) in self.members.drain(..) {
            self.worker.inner.application.left(member, reason);
        }
    }

    /// Sends what is queued; ready when the session is over.
    pub(super) fn poll_output(&mut self, task: &mut Task<'_>, now: Instant) -> Poll<()> {
        if let Some(closing) = self.closing {
            if now >= closing.deadline || !closing.last_words {
                return Poll::Ready(());
            }
            if let Transport::Polling(polling) = &mut self.transport {
                match polling.poll_probe(task, now) {
                    None if polling.say_goodbye() => return Poll::Ready(()),
                    None | Some(Progress::Waiting | Progress::Answered) => return Poll::Pending,
                    Some(Progress::Failed) => {
                        polling.drop_probe();
                        // It may poll again, and be told there.
                        task.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    Some(Progress::Upgraded) => {
                        self.upgrade(task);
                        if let Transport::WebSocket(socket) = &mut self.transport {
                            let frame =
                                Packet::close(closing.reason.code(), closing.reason.as_str());
                            socket.push(frame.websocket().clone());
                        }
                    }
                }
            }
        }
        let Transport::WebSocket(socket) = &mut self.transport else {
            self.flush_polling();
            return if self.closing.is_some() { Poll::Ready(()) } else { Poll::Pending };
        };
        let mut written = 0;
        let flushed = socket.poll_flush(task, &mut written);
        self.handle.budget().release(written);
        match flushed {
            Poll::Ready(Ok(())) if self.closing.is_some() => socket.poll_end(task),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
            Poll::Ready(Err(_)) => {
                self.close(Close::Transport);
                Poll::Ready(())
            }
        }
    }
}
