//! Rooms, and clients that come back: for applications that send events to many, and want those who
//! were away for a moment to miss nothing (Socket.IO's "connection state recovery").
//!
//! An application that has an order and a store of its own answers [`Admission::Resume`] itself and
//! needs nothing from here.
//!
//! All of a namespace's clients are behind one lock. So an event either is in the store before a
//! client comes back, and is replayed to it, or reaches it live: never both, never neither.

mod store;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use log::error;
use parking_lot::Mutex;
use protocol::{Close, Packet, Sid, socket};
use serde::Deserialize;

use crate::application::{Admission, Missed, Request, Resumption};
use crate::handle::Handle;
use crate::server::random_sid;
use crate::session::now;
pub use store::{Audience, Kept, Memory, Saved, Store};

/// The clients of one namespace. Cloning shares them; workers are meant to.
#[derive(Clone)]
pub struct Rooms {
    shared: Arc<Shared>,
}

struct Shared {
    namespace: Arc<str>,
    state: Mutex<State>,
}

struct State {
    store: Option<Box<dyn Store>>,
    occupants: HashMap<Sid, Occupant>,
    /// The sessions that are here, by what they would come back with.
    by_pid: HashMap<String, Sid>,
    next_turn: u64,
}

struct Occupant {
    session: Handle,
    saved: Saved,
    pid: String,
    /// Which seat holds the place: a client that came back has another one than before.
    turn: u64,
}

/// A client's place, until it is dropped. Then, unless it was [`Seat::forget`]ten, the client may come
/// back to it.
pub struct Seat {
    rooms: Rooms,
    sid: Sid,
    turn: u64,
    keep: bool,
}

/// What a client sends along when it was here before.
#[derive(Deserialize)]
struct Return {
    pid: String,
    offset: Option<String>,
}

impl Rooms {
    /// Rooms whose clients begin anew each time they come.
    pub fn new(namespace: &str) -> Self {
        Self::with(namespace, None)
    }

    /// Rooms whose clients find, when they come back, what `store` has kept for them. Every event
    /// then ends with its offset, a string more than was emitted.
    pub fn recoverable(namespace: &str, store: impl Store + 'static) -> Self {
        Self::with(namespace, Some(Box::new(store)))
    }

    /// Lets a client in: to the place that it had, if it may have it back. `owner` says whose it is;
    /// nobody gets another's.
    pub fn enter(&self, request: &Request, owner: &str) -> Admission<Seat> {
        let (Ok(sid), Ok(pid)) = (random_sid(), random_sid()) else {
            return Admission::Unavailable;
        };
        let mut state = self.shared.state.lock();
        let state = &mut *state;
        let Some(store) = &mut state.store else {
            let saved = Saved { sid, owner: owner.into(), rooms: BTreeSet::new(), position: 0 };
            return Admission::Accept(self.sit(state, request, saved, pid.to_string()));
        };
        let fresh =
            Saved { sid, owner: owner.into(), rooms: BTreeSet::new(), position: store.position() };
        let auth = request.auth.as_deref();
        let back: Option<Return> = auth.and_then(|auth| serde_json::from_str(auth).ok());
        let found = back.and_then(|back| self.find(state, request, owner, back));
        let (saved, pid, missed) = found.unwrap_or_else(|| (fresh, pid.to_string(), Vec::new()));
        let resumption = Resumption { sid: saved.sid, pid: pid.clone(), missed };
        Admission::Resume(self.sit(state, request, saved, pid), resumption)
    }

    /// Sends an event to a room, or to all; `payload` is a JSON array, its name first, with
    /// placeholders for attachments.
    pub fn emit(&self, room: Option<&str>, payload: &str, attachments: Vec<Bytes>) {
        let audience = room.map_or(Audience::All, |room| Audience::Room(room.into()));
        self.send(Kept { audience, except: None, payload: payload.into(), attachments });
    }

    fn with(namespace: &str, store: Option<Box<dyn Store>>) -> Self {
        let state =
            State { store, occupants: HashMap::new(), by_pid: HashMap::new(), next_turn: 0 };
        let shared = Shared { namespace: namespace.into(), state: Mutex::new(state) };
        Self { shared: Arc::new(shared) }
    }

    /// Who the client was and what it has missed, unless something of that is lost.
    fn find(
        &self,
        state: &mut State,
        request: &Request,
        owner: &str,
        back: Return,
    ) -> Option<(Saved, String, Vec<Missed>)> {
        let store = state.store.as_mut()?;
        let mut saved = match state.by_pid.get(&back.pid) {
            // It is back before its former connection was found to be dead.
            Some(sid) => state.occupants.get(sid).map(|there| there.saved.clone()),
            None => store.take(&back.pid, now()),
        }?;
        if &*saved.owner != owner {
            return None;
        }
        if let Some(offset) = &back.offset {
            // The stock client keeps its last offset for good: one from before its place was taken
            // counts for nothing.
            saved.position = saved.position.max(store.parse(offset)?);
        }
        let owed: Vec<(u64, Kept)> = store
            .since(saved.position, now())?
            .into_iter()
            .filter(|(_, event)| event.is_for(&saved))
            .collect();
        // With what the protocol puts around it: a client that is cut for what it has missed would come
        // back for it again and again.
        let around = self.shared.namespace.len() + AROUND;
        let size: usize = owed
            .iter()
            .map(|(_, event)| event.size() + around + event.attachments.len() * AROUND)
            .sum();
        if size > request.session.capacity() / 2 {
            return None;
        }
        let missed = owed.into_iter().filter_map(|(position, event)| {
            let payload = with_offset(&event.payload, &store.offset(position))?;
            Some(Missed { payload: payload.into(), attachments: event.attachments })
        });
        let missed = missed.collect();
        if let Some(there) = state.occupants.get(&saved.sid) {
            there.session.close(Close::Replaced);
        }
        Some((saved, back.pid, missed))
    }

    fn sit(&self, state: &mut State, request: &Request, saved: Saved, pid: String) -> Seat {
        let turn = state.next_turn;
        state.next_turn += 1;
        let sid = saved.sid;
        if state.store.is_some() {
            state.by_pid.insert(pid.clone(), sid);
        }
        let session = request.session.clone();
        state.occupants.insert(sid, Occupant { session, saved, pid, turn });
        Seat { rooms: self.clone(), sid, turn, keep: true }
    }

    fn send(&self, event: Kept) {
        let mut state = self.shared.state.lock();
        let state = &mut *state;
        let payload = match &mut state.store {
            None => event.payload.to_string(),
            Some(store) => {
                let position = store.append(event.clone(), now());
                match with_offset(&event.payload, &store.offset(position)) {
                    Some(payload) => payload,
                    None => return error!("not sent, since an event is a JSON array"),
                }
            }
        };
        let namespace = &*self.shared.namespace;
        let shared = event.attachments.is_empty();
        let packet: Packet = socket::encode('2', namespace, None, &payload);
        for occupant in state.occupants.values().filter(|there| event.is_for(&there.saved)) {
            if shared {
                // Who does not take it is on its way out, and finds it when it comes back.
                let _ending = occupant.session.send_to(&self.shared.namespace, &packet);
            } else {
                occupant.session.emit(namespace, payload.clone(), event.attachments.clone());
            }
        }
    }
}

impl Seat {
    /// The client's public id; another one comes back only with what it was told in secret.
    pub fn sid(&self) -> Sid {
        self.sid
    }

    /// Adds the client to a room.
    pub fn join(&self, room: &str) {
        self.change(|rooms| rooms.insert(room.into()));
    }

    /// Takes the client out of a room.
    pub fn leave(&self, room: &str) {
        self.change(|rooms| rooms.remove(room));
    }

    /// Sends an event to this client.
    pub fn emit(&self, payload: &str, attachments: Vec<Bytes>) {
        let audience = Audience::One(self.sid);
        self.rooms.send(Kept { audience, except: None, payload: payload.into(), attachments });
    }

    /// Sends an event to all others, or to all others in a room.
    pub fn broadcast(&self, room: Option<&str>, payload: &str, attachments: Vec<Bytes>) {
        let audience = room.map_or(Audience::All, |room| Audience::Room(room.into()));
        let except = Some(self.sid);
        self.rooms.send(Kept { audience, except, payload: payload.into(), attachments });
    }

    /// The client said that it leaves: it cannot come back to this place.
    pub fn forget(&mut self) {
        self.keep = false;
    }

    /// Gives the place up. The client may come back to it unless it was put out or broke the protocol.
    pub fn end(mut self, reason: Close) {
        let put_out = matches!(
            reason,
            Close::Protocol | Close::TooLarge | Close::SessionEnd | Close::Kicked | Close::Replaced
        );
        self.keep &= !put_out;
    }

    fn change(&self, change: impl FnOnce(&mut BTreeSet<Arc<str>>) -> bool) {
        let mut state = self.rooms.shared.state.lock();
        let occupant = state.occupants.get_mut(&self.sid);
        if let Some(occupant) = occupant.filter(|there| there.turn == self.turn) {
            change(&mut occupant.saved.rooms);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.rooms.shared.state.lock();
        let state = &mut *state;
        if state.occupants.get(&self.sid).is_none_or(|there| there.turn != self.turn) {
            return;
        }
        let Some(occupant) = state.occupants.remove(&self.sid) else { return };
        state.by_pid.remove(&occupant.pid);
        if let (Some(store), true) = (&mut state.store, self.keep) {
            store.save(occupant.pid, occupant.saved, now());
        }
    }
}

impl fmt::Debug for Rooms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rooms").field("namespace", &self.shared.namespace).finish_non_exhaustive()
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat").field("rooms", &self.rooms).finish_non_exhaustive()
    }
}

/// Bytes of a frame beside what it carries, and of an offset: at most about these.
const AROUND: usize = 64;

/// A JSON array with a string more at its end; `None` if it is no array.
fn with_offset(payload: &str, offset: &str) -> Option<String> {
    let items = payload.trim_end().strip_suffix(']')?;
    Some(format!("{items},\"{offset}\"]"))
}
