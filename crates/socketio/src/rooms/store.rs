//! What rooms keep for clients that are away: events for a while, and who the clients were.
//!
//! [`Memory`] is one process's own. Another [`Store`] may outlive it, as long as it answers at once: it
//! is asked under the rooms' lock.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use protocol::Sid;

use crate::server::random_sid;

/// Keeps events in order, and places of clients that are away.
pub trait Store: Send {
    /// Keeps an event; returns its position, greater than all before.
    fn append(&mut self, event: Kept, now: Instant) -> u64;

    /// The position of the newest event.
    fn position(&self) -> u64;

    /// A position as clients see it: without a quote or a backslash.
    fn offset(&self, position: u64) -> String;

    /// The reverse; `None` if it is no offset of this store.
    fn parse(&self, offset: &str) -> Option<u64>;

    /// The events behind a position, oldest first; `None` if not all of them are there any more.
    fn since(&mut self, position: u64, now: Instant) -> Option<Vec<(u64, Kept)>>;

    /// Keeps the place of a client that has gone.
    fn save(&mut self, pid: String, saved: Saved, now: Instant);

    /// Gives it back, once.
    fn take(&mut self, pid: &str, now: Instant) -> Option<Saved>;
}

/// An event as it was emitted.
#[derive(Clone, Debug)]
pub struct Kept {
    /// For whom.
    pub audience: Audience,
    /// Whom of these not.
    pub except: Option<Sid>,
    /// A JSON array, the name first.
    pub payload: Arc<str>,
    /// What its placeholders stand for.
    pub attachments: Vec<Bytes>,
}

/// For whom an event is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Everybody in the namespace.
    All,
    /// Those in a room.
    Room(Arc<str>),
    /// One client.
    One(Sid),
}

/// A client's place.
#[derive(Clone, Debug)]
pub struct Saved {
    /// Its public id.
    pub sid: Sid,
    /// Whose it is.
    pub owner: Box<str>,
    /// The rooms it is in.
    pub rooms: BTreeSet<Arc<str>>,
    /// What it was owed begins behind here, if it has not seen more.
    pub position: u64,
}

impl Kept {
    /// Whether it is for the client with that place.
    pub fn is_for(&self, saved: &Saved) -> bool {
        let meant = match &self.audience {
            Audience::All => true,
            Audience::Room(room) => saved.rooms.contains(room),
            Audience::One(sid) => *sid == saved.sid,
        };
        meant && self.except != Some(saved.sid)
    }

    /// Bytes.
    pub fn size(&self) -> usize {
        self.payload.len() + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }
}

/// A [`Store`] that ends with its process, bounded in time, number and bytes.
pub struct Memory {
    window: Duration,
    /// Part of every offset: those of another process are not taken for this one's.
    epoch: Sid,
    events: VecDeque<(Instant, Kept)>,
    bytes: usize,
    /// Of the newest event.
    position: u64,
    places: HashMap<String, (Instant, Saved)>,
    /// The places' ids, oldest first; some have been taken.
    order: VecDeque<(Instant, String)>,
}

impl Memory {
    /// Two minutes, as in Node.
    pub const WINDOW: Duration = Duration::from_secs(120);

    /// Keeps events and places for `window`.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn new(window: Duration) -> io::Result<Self> {
        Ok(Self {
            window,
            epoch: random_sid()?,
            events: VecDeque::new(),
            bytes: 0,
            position: 0,
            places: HashMap::new(),
            order: VecDeque::new(),
        })
    }

    fn sweep(&mut self, now: Instant) {
        let since = now.checked_sub(self.window);
        let over = |at: Instant| since.is_some_and(|since| at < since);
        while let Some((at, event)) = self.events.front()
            && (over(*at) || self.events.len() > MAX_EVENTS || self.bytes > MAX_BYTES)
        {
            self.bytes -= event.size();
            self.events.pop_front();
        }
        while let Some((at, pid)) = self.order.front()
            && (over(*at) || self.order.len() > MAX_PLACES)
        {
            // It may have been taken since, and saved again.
            if self.places.get(pid).is_some_and(|(saved_at, _)| saved_at == at) {
                self.places.remove(pid);
            }
            self.order.pop_front();
        }
    }
}

impl Store for Memory {
    fn append(&mut self, event: Kept, now: Instant) -> u64 {
        self.position += 1;
        self.bytes += event.size();
        self.events.push_back((now, event));
        self.sweep(now);
        self.position
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn offset(&self, position: u64) -> String {
        format!("{}.{position}", self.epoch)
    }

    fn parse(&self, offset: &str) -> Option<u64> {
        let (epoch, position) = offset.rsplit_once('.')?;
        let position = position.parse().ok()?;
        (Sid::parse(epoch) == Some(self.epoch) && position <= self.position).then_some(position)
    }

    fn since(&mut self, position: u64, now: Instant) -> Option<Vec<(u64, Kept)>> {
        self.sweep(now);
        let trimmed = self.position.checked_sub(self.events.len() as u64)?;
        let skip = usize::try_from(position.checked_sub(trimmed)?).ok()?;
        let events = self.events.iter().map(|(_, event)| event.clone());
        Some((trimmed + 1..).zip(events).skip(skip).collect())
    }

    fn save(&mut self, pid: String, saved: Saved, now: Instant) {
        self.order.push_back((now, pid.clone()));
        self.places.insert(pid, (now, saved));
        self.sweep(now);
    }

    fn take(&mut self, pid: &str, now: Instant) -> Option<Saved> {
        self.sweep(now);
        self.places.remove(pid).map(|(_, saved)| saved)
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (events, places) = (self.events.len(), self.places.len());
        f.debug_struct("Memory")
            .field("window", &self.window)
            .field("events", &events)
            .field("places", &places)
            .finish_non_exhaustive()
    }
}

const MAX_EVENTS: usize = 10_000;

const MAX_BYTES: usize = 16 << 20;

const MAX_PLACES: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::now;

    const SECOND: Duration = Duration::from_secs(1);

    fn event(name: &str) -> Kept {
        let payload = format!("[\"{name}\"]").into();
        Kept { audience: Audience::All, except: None, payload, attachments: Vec::new() }
    }

    fn place(position: u64) -> Saved {
        let sid = Sid::new([1; 15]);
        Saved { sid, owner: "ana".into(), rooms: BTreeSet::from(["a".into()]), position }
    }

    fn memory() -> (Memory, Instant) {
        (Memory::new(10 * SECOND).unwrap(), now())
    }

    fn payloads(events: Option<Vec<(u64, Kept)>>) -> Option<Vec<(u64, String)>> {
        Some(events?.into_iter().map(|(at, event)| (at, event.payload.to_string())).collect())
    }

    #[test]
    fn what_is_behind_a_position_is_returned_in_order() {
        let (mut memory, now) = memory();
        assert_eq!(payloads(memory.since(0, now)), Some(Vec::new()));
        for name in ["a", "b", "c"] {
            memory.append(event(name), now);
        }
        let behind = vec![(2, "[\"b\"]".to_owned()), (3, "[\"c\"]".to_owned())];
        assert_eq!(payloads(memory.since(1, now)), Some(behind));
        assert_eq!(payloads(memory.since(3, now)), Some(Vec::new()));
    }

    #[test]
    fn a_gap_is_told_from_an_end() {
        let (mut memory, now) = memory();
        memory.append(event("a"), now);
        memory.append(event("b"), now + 5 * SECOND);
        let later = now + 11 * SECOND;
        // Only "a" is gone: whoever has it has missed nothing that is not there.
        assert!(memory.since(1, later).is_some());
        assert!(memory.since(0, later).is_none());
    }

    #[test]
    fn offsets_are_one_process_s_own() {
        let (mut memory, now) = memory();
        let position = memory.append(event("a"), now);
        let offset = memory.offset(position);
        assert_eq!(memory.parse(&offset), Some(position));
        let other = Memory::new(SECOND).unwrap();
        for wrong in ["", "1", "AAAA.1", &other.offset(1), &memory.offset(position + 1)] {
            assert_eq!(memory.parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_place_is_given_back_once_and_in_time() {
        let (mut memory, now) = memory();
        memory.save("pid".to_owned(), place(0), now);
        assert!(memory.take("pid", now + 10 * SECOND).is_some());
        assert!(memory.take("pid", now + 10 * SECOND).is_none());
        memory.save("pid".to_owned(), place(0), now + 10 * SECOND);
        // The first save is over by now, the second is not.
        assert!(memory.take("pid", now + 15 * SECOND).is_some());
        memory.save("pid".to_owned(), place(0), now + 15 * SECOND);
        assert!(memory.take("pid", now + 26 * SECOND).is_none());
    }

    #[test]
    fn number_and_bytes_are_bounded() {
        let (mut memory, now) = memory();
        for _ in 0..MAX_EVENTS + 5 {
            memory.append(event("a"), now);
        }
        assert_eq!(memory.events.len(), MAX_EVENTS);
        let large = Kept { attachments: vec![vec![0; MAX_BYTES / 2].into()], ..event("b") };
        for _ in 0..3 {
            memory.append(large.clone(), now);
        }
        assert!(memory.bytes <= MAX_BYTES, "{}", memory.bytes);
        for n in 0..MAX_PLACES + 5 {
            memory.save(n.to_string(), place(0), now);
        }
        assert_eq!(memory.places.len(), MAX_PLACES);
        assert!(memory.take("0", now).is_none());
    }

    #[test]
    fn an_event_is_for_those_it_names() {
        let me = Sid::new([1; 15]);
        let other = Sid::new([2; 15]);
        let cases = [
            (Audience::All, None, true),
            (Audience::All, Some(other), true),
            (Audience::All, Some(me), false),
            (Audience::Room("a".into()), None, true),
            (Audience::Room("b".into()), None, false),
            (Audience::One(me), None, true),
            (Audience::One(other), None, false),
        ];
        for (audience, except, expected) in cases {
            let kept = Kept { audience: audience.clone(), except, ..event("a") };
            assert_eq!(kept.is_for(&place(0)), expected, "{audience:?} {except:?}");
        }
    }
}
