//! How clients get into namespaces and out again: asking the application, and what follows from its
//! answer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll};

use protocol::Close;

use super::Session;
use crate::application::{Admission, Application, Missed, Request, Resumption};
use crate::handle::Command;
use crate::server::random_sid;

pub(super) struct Joining<M> {
    namespace: Arc<str>,
    admission: Pin<Box<dyn Future<Output = Admission<M>>>>,
}

impl<A: Application> Session<A> {
    pub(super) fn join(
        &mut self,
        namespace: Arc<str>,
        auth: Option<Box<str>>,
        task: &mut Task<'_>,
    ) {
        let application = &self.worker.inner.application;
        if !application.namespaces().contains(&&*namespace) {
            return self.connection.refuse(&namespace, "Invalid namespace", None);
        }
        let Some(handshake) = self.handshake.clone() else {
            // It has left what it had joined, and its headers are gone: it must come anew.
            return self.close(Close::Client);
        };
        let request =
            Request { namespace: namespace.clone(), handshake, auth, session: self.handle.clone() };
        let worker = self.worker.clone();
        let admission = Box::pin(async move { worker.inner.application.connect(request).await });
        self.joining.push(Joining { namespace, admission });
        self.poll_joining(task);
    }

    pub(super) fn poll_joining(&mut self, task: &mut Task<'_>) {
        let mut at = 0;
        while let Some(joining) = self.joining.get_mut(at) {
            match joining.admission.as_mut().poll(task) {
                Poll::Pending => at += 1,
                Poll::Ready(admission) => {
                    let namespace = self.joining.swap_remove(at).namespace;
                    self.admit(namespace, admission);
                }
            }
        }
        if self.joining.is_empty() && self.joining.capacity() > 0 {
            self.joining = Vec::new();
        }
    }

    fn admit(&mut self, namespace: Arc<str>, admission: Admission<A::Member>) {
        match admission {
            Admission::Accept(member) => {
                let Ok(sid) = random_sid() else { return self.close(Close::StoreUnavailable) };
                self.connection.accept(&namespace, &sid, None);
                self.seat(namespace, member);
            }
            Admission::Resume(member, Resumption { sid, pid, missed }) => {
                self.connection.accept(&namespace, &sid, Some(&pid));
                for Missed { payload, attachments } in missed {
                    self.connection.emit(&namespace, &payload, &attachments);
                }
                self.seat(namespace, member);
            }
            Admission::Refuse { message, data } => {
                self.connection.refuse(&namespace, &message, data.as_deref());
                self.release_held();
            }
            Admission::Unavailable => self.close(Close::StoreUnavailable),
        }
    }

    /// A namespace has one member more. What it was sent meanwhile follows what is queued.
    fn seat(&mut self, namespace: Arc<str>, member: A::Member) {
        let server = &self.worker.inner.server;
        server.know(&self.sid);
        if let Some(polled) = server.find(&self.sid) {
            polled.bond().join(self.worker.inner.application.member_owner(&member));
        }
        self.members.reserve_exact(1);
        self.members.push((namespace, member));
        self.transmit();
        self.release_held();
        if self.members.len() == self.worker.inner.application.namespaces().len() {
            self.handshake = None;
        }
    }

    /// Whether a command is for a namespace whose join is still to be judged.
    pub(super) fn is_early(&self, command: &Command) -> bool {
        match command {
            Command::Send { namespace: None, .. } => self.is_unknown() && !self.joining.is_empty(),
            Command::Send { namespace: Some(namespace), .. } => {
                self.joining.iter().any(|joining| joining.namespace == *namespace)
            }
            Command::Emit { namespace, .. }
            | Command::Ask { namespace, .. }
            | Command::Leave { namespace } => {
                self.joining.iter().any(|joining| *joining.namespace == **namespace)
            }
            _ => false,
        }
    }

    /// What need not wait any more is sent, or is for nobody.
    fn release_held(&mut self) {
        for command in std::mem::take(&mut self.held) {
            self.obey(command);
        }
    }

    /// A namespace has one member less.
    pub(super) fn lose(&mut self, namespace: &str, reason: Close) {
        let Some(at) = self.members.iter().position(|(name, _)| &**name == namespace) else {
            return;
        };
        let (_, member) = self.members.swap_remove(at);
        self.worker.inner.application.left(member, reason);
        if self.members.is_empty() {
            self.worker.inner.server.greet(self.sid, self.handle.clone());
        }
    }
}
