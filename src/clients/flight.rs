//! Questions that are on their way, shared: who asks what is being asked already waits for that answer.
//! So five tabs of one session ask the store once. It knows neither stores nor what an answer means.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::cache::Fingerprint;

/// Cloning shares it. It holds as many questions as there are askers, who bound themselves.
pub(super) struct Flights<A> {
    under_way: Arc<Mutex<HashMap<Fingerprint, Flight<A>>>>,
}

struct Flight<A> {
    landed: watch::Receiver<Option<Landed<A>>>,
}

/// An answer, and when its question was sent.
#[derive(Clone)]
pub(super) struct Landed<A> {
    pub(super) asked: Instant,
    pub(super) answer: A,
}

impl<A: Clone + Send + Sync + 'static> Flights<A> {
    /// The answer to the question that is on its way, or else to a new one.
    pub(super) async fn join<F: Future<Output = A> + 'static>(
        &self,
        session: Fingerprint,
        ask: impl FnOnce(Instant) -> F,
    ) -> Option<Landed<A>> {
        let landed = {
            let mut under_way = self.under_way.lock();
            match under_way.get(&session) {
                Some(flight) => flight.landed.clone(),
                None => self.start(&mut under_way, session, ask),
            }
        };
        wait(landed).await
    }

    /// The answer to a new question, which from now on is the one that others join.
    pub(super) async fn renew<F: Future<Output = A> + 'static>(
        &self,
        session: Fingerprint,
        ask: impl FnOnce(Instant) -> F,
    ) -> Option<Landed<A>> {
        let landed = {
            let mut under_way = self.under_way.lock();
            self.start(&mut under_way, session, ask)
        };
        wait(landed).await
    }

    /// The question is a task of its own: that its first asker leaves is nothing to the others.
    fn start<F: Future<Output = A> + 'static>(
        &self,
        under_way: &mut HashMap<Fingerprint, Flight<A>>,
        session: Fingerprint,
        ask: impl FnOnce(Instant) -> F,
    ) -> watch::Receiver<Option<Landed<A>>> {
        let (tell, landed) = watch::channel(None);
        let asked = now();
        let answer = ask(asked);
        under_way.insert(session, Flight { landed: landed.clone() });
        let runway = Runway { under_way: self.under_way.clone(), session, landed: landed.clone() };
        actix::spawn(async move {
            let answer = answer.await;
            drop(runway);
            tell.send_replace(Some(Landed { asked, answer }));
        });
        landed
    }
}

/// Nothing, if the question was given up: its thread has stopped.
async fn wait<A: Clone>(mut landed: watch::Receiver<Option<Landed<A>>>) -> Option<Landed<A>> {
    landed.wait_for(Option::is_some).await.ok()?.clone()
}

/// Is cleared whatever becomes of the question.
struct Runway<A> {
    under_way: Arc<Mutex<HashMap<Fingerprint, Flight<A>>>>,
    session: Fingerprint,
    landed: watch::Receiver<Option<Landed<A>>>,
}

impl<A> Drop for Runway<A> {
    fn drop(&mut self) {
        let mut under_way = self.under_way.lock();
        // A later question of the same session stays.
        let own = |flight: &Flight<A>| flight.landed.same_channel(&self.landed);
        if under_way.get(&self.session).is_some_and(own) {
            under_way.remove(&self.session);
        }
    }
}

impl<A> Default for Flights<A> {
    fn default() -> Self {
        Self { under_way: Arc::default() }
    }
}

#[expect(clippy::disallowed_methods, reason = "the age of an answer")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use futures_util::future::{join_all, poll_immediate};
    use tokio::sync::oneshot;

    use super::*;

    fn session() -> Fingerprint {
        Fingerprint::new(0, b"session")
    }

    #[actix::test]
    async fn one_question_answers_all_who_ask_meanwhile() {
        let flights = Flights::default();
        let questions = Rc::new(Cell::new(0));
        let (answer, answered) = oneshot::channel::<u32>();
        let ask = |answered: oneshot::Receiver<u32>| {
            let questions = questions.clone();
            move |_| async move {
                questions.set(questions.get() + 1);
                answered.await.ok()
            }
        };
        let mut first = Box::pin(flights.join(session(), ask(answered)));
        assert!(poll_immediate(&mut first).await.is_none());
        let others: Vec<_> =
            (0..4).map(|_| flights.join(session(), ask(oneshot::channel().1))).collect();
        let mut others = Box::pin(join_all(others));
        assert!(poll_immediate(&mut others).await.is_none());
        // Its client leaves.
        drop(first);
        answer.send(77).unwrap();
        let heard: Vec<_> = others.await.into_iter().map(|landed| landed.unwrap().answer).collect();
        assert_eq!((heard, questions.get()), (vec![Some(77); 4], 1));
        assert!(flights.under_way.lock().is_empty());
    }

    #[actix::test]
    async fn renewed_question_is_the_one_that_others_join() {
        let flights = Flights::default();
        let (old, waits) = oneshot::channel::<u32>();
        let mut first = Box::pin(flights.join(session(), |_| async { waits.await.unwrap() }));
        assert!(poll_immediate(&mut first).await.is_none());
        let (new, waits) = oneshot::channel::<u32>();
        let mut second = Box::pin(flights.renew(session(), |_| async { waits.await.unwrap() }));
        assert!(poll_immediate(&mut second).await.is_none());
        old.send(1).unwrap();
        let first = first.await.unwrap();
        let mut third = Box::pin(flights.join(session(), |_| async { 3 }));
        assert!(poll_immediate(&mut third).await.is_none());
        new.send(2).unwrap();
        let (second, third) = (second.await.unwrap(), third.await.unwrap());
        assert_eq!((first.answer, second.answer, third.answer), (1, 2, 2));
        assert!(first.asked <= second.asked && second.asked == third.asked);
    }

    #[actix::test]
    async fn question_that_is_given_up_leaves_nobody_waiting() {
        let flights = Flights::<u32>::default();
        let (never, waits) = oneshot::channel::<u32>();
        drop(never);
        let given_up = flights.join(session(), |_| async {
            waits.await.unwrap();
            0
        });
        assert!(given_up.await.is_none());
        let next = flights.join(session(), |_| async { 7 }).await;
        assert_eq!(next.map(|landed| landed.answer), Some(7));
    }
}
