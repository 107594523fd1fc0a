//! Who is here: user → sessions, group → sessions, and who wants to know about it.
//!
//! It hands each announcement to the sessions it is for. It does no I/O, reads no payload and knows
//! no session: only a [`Sink`] for each, which whoever lets a client join brings along.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, OnceLock};

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, MessageResult, Recipient};
use protocol::{Close, Packet};
use serde::Serialize;
use slab::Slab;

use crate::model::{Address, GroupName, UserId};

/// Where a session takes packets.
pub trait Sink: Send {
    /// Queues a packet; false if the session is over or too slow.
    fn deliver(&self, packet: &Packet) -> bool;
    /// Ends the session.
    fn end(&self, reason: Close);
}

/// The actor. There is one.
#[derive(Default)]
pub struct Registry {
    members: Slab<Member>,
    users: HashMap<UserId, Sessions>,
    groups: HashMap<GroupName, Sessions>,
    /// Notifiers that subscribe per address; bounded by the notifiers.
    watchers: Vec<Recipient<Interest>>,
    /// One address for all memberships, since each clone of one costs two allocations.
    address: OnceLock<Arc<Addr<Self>>>,
}

struct Member {
    user: UserId,
    groups: Box<[GroupName]>,
    sink: Box<dyn Sink>,
}

/// Keys of members. Nearly all users have one or two sessions.
type Sessions = smallvec::SmallVec<[usize; 2]>;

/// A client comes in. The answer is its membership: dropped, it leaves.
#[derive(Message)]
#[rtype(result = "Membership")]
pub struct Join {
    /// Who it is.
    pub user: UserId,
    /// Groups it belongs to from the start.
    pub groups: Vec<GroupName>,
    /// Where its packets go.
    pub sink: Box<dyn Sink>,
}

/// Announcements, in the order in which everyone is to hear them. The answer is, one for one, how
/// many sessions took them.
#[derive(Message)]
#[rtype(result = "Vec<u32>")]
pub struct Publish(pub Vec<Announcement>);

/// A notification that is ordered and framed.
pub struct Announcement {
    /// Who is to hear it.
    pub to: Address,
    /// What they hear.
    pub packet: Packet,
}

/// A notifier wants to know whom anybody here could hear about: it is told of every such address, and
/// of every change from then on, in order.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Watch(pub Recipient<Interest>);

/// An address has got its first listener, or lost its last.
#[derive(Clone, Debug, Message, PartialEq, Eq)]
#[rtype(result = "()")]
pub enum Interest {
    /// Somebody listens now.
    Gained(Address),
    /// Nobody listens any more.
    Lost(Address),
}

/// Ends every session.
#[derive(Message)]
#[rtype(result = "()")]
pub struct EndAll(pub Close);

/// Asks for numbers.
#[derive(Message)]
#[rtype(result = "Observed")]
pub struct Observe;

/// The numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Observed {
    /// Joined sessions.
    pub sessions: usize,
    /// Distinct users with a session.
    pub users: usize,
    /// Groups with a member here.
    pub groups: usize,
}

/// A place in the registry, given back when dropped.
#[derive(Debug)]
pub struct Membership {
    key: usize,
    registry: Arc<Addr<Registry>>,
}

#[derive(Message)]
#[rtype(result = "()")]
struct Leave(usize);

impl Drop for Membership {
    #[expect(clippy::disallowed_methods, reason = "one message per joined session")]
    fn drop(&mut self) {
        self.registry.do_send(Leave(self.key));
    }
}

impl Registry {
    fn join(&mut self, member: Member) -> usize {
        let entry = self.members.vacant_entry();
        let key = entry.key();
        let mut gained = Vec::new();
        if enter(self.users.entry(member.user.clone()), key) {
            gained.push(Address::User(member.user.clone()));
        }
        for group in &member.groups {
            if enter(self.groups.entry(group.clone()), key) {
                gained.push(Address::Group(group.clone()));
            }
        }
        entry.insert(member);
        self.tell(gained.into_iter().map(Interest::Gained));
        key
    }

    fn leave(&mut self, key: usize) {
        let Some(member) = self.members.try_remove(key) else { return };
        let mut lost = Vec::new();
        if depart(self.users.entry(member.user.clone()), key) {
            lost.push(Address::User(member.user));
        }
        for group in member.groups {
            if depart(self.groups.entry(group.clone()), key) {
                lost.push(Address::Group(group));
            }
        }
        self.tell(lost.into_iter().map(Interest::Lost));
    }

    fn deliver(&self, announcement: &Announcement) -> u32 {
        let take = |member: &Member| u32::from(member.sink.deliver(&announcement.packet));
        let sessions = match &announcement.to {
            Address::All => return self.members.iter().map(|(_, member)| take(member)).sum(),
            Address::User(user) => self.users.get(user),
            Address::Group(group) => self.groups.get(group),
        };
        sessions.into_iter().flatten().filter_map(|key| self.members.get(*key)).map(take).sum()
    }

    fn tell(&self, changes: impl Iterator<Item = Interest>) {
        for change in changes {
            for watcher in &self.watchers {
                tell(watcher, change.clone());
            }
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a message per change of a live session, and it must not be lost: a notifier would not subscribe"
)]
fn tell(watcher: &Recipient<Interest>, change: Interest) {
    watcher.do_send(change);
}

/// Adds a session; true if it is the first.
fn enter<K: Eq + std::hash::Hash>(entry: Entry<'_, K, Sessions>, key: usize) -> bool {
    let sessions = entry.or_default();
    if !sessions.contains(&key) {
        sessions.push(key);
    }
    sessions.len() == 1
}

/// Removes a session; true if it was the last.
fn depart<K: Eq + std::hash::Hash>(entry: Entry<'_, K, Sessions>, key: usize) -> bool {
    let Entry::Occupied(mut sessions) = entry else { return false };
    sessions.get_mut().retain(|one| *one != key);
    let last = sessions.get().is_empty();
    if last {
        sessions.remove();
    }
    last
}

impl Actor for Registry {
    type Context = Context<Self>;
}

impl Handler<Join> for Registry {
    type Result = MessageResult<Join>;

    fn handle(&mut self, join: Join, ctx: &mut Self::Context) -> Self::Result {
        let member = Member { user: join.user, groups: join.groups.into(), sink: join.sink };
        let key = self.join(member);
        let registry = self.address.get_or_init(|| Arc::new(ctx.address())).clone();
        MessageResult(Membership { key, registry })
    }
}

impl Handler<Leave> for Registry {
    type Result = ();

    fn handle(&mut self, Leave(key): Leave, _: &mut Self::Context) {
        self.leave(key);
    }
}

impl Handler<Publish> for Registry {
    type Result = Vec<u32>;

    fn handle(&mut self, Publish(announcements): Publish, _: &mut Self::Context) -> Vec<u32> {
        announcements.iter().map(|announcement| self.deliver(announcement)).collect()
    }
}

impl Handler<Watch> for Registry {
    type Result = ();

    fn handle(&mut self, Watch(watcher): Watch, _: &mut Self::Context) {
        let users = self.users.keys().cloned().map(Address::User);
        let groups = self.groups.keys().cloned().map(Address::Group);
        for address in users.chain(groups) {
            tell(&watcher, Interest::Gained(address));
        }
        self.watchers.retain(|one| one.connected());
        self.watchers.push(watcher);
    }
}

impl Handler<EndAll> for Registry {
    type Result = ();

    fn handle(&mut self, EndAll(reason): EndAll, _: &mut Self::Context) {
        for (_, member) in &self.members {
            member.sink.end(reason);
        }
    }
}

impl Handler<Observe> for Registry {
    type Result = MessageResult<Observe>;

    fn handle(&mut self, Observe: Observe, _: &mut Self::Context) -> Self::Result {
        MessageResult(Observed {
            sessions: self.members.len(),
            users: self.users.len(),
            groups: self.groups.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Heard(Arc<Mutex<Vec<Packet>>>);

    impl Sink for Heard {
        fn deliver(&self, packet: &Packet) -> bool {
            self.0.lock().unwrap().push(packet.clone());
            true
        }

        fn end(&self, _: Close) {}
    }

    fn join(registry: &mut Registry, user: &str, groups: &[&str]) -> (usize, Heard) {
        let heard = Heard::default();
        let groups = groups.iter().map(|group| GroupName::new(group).unwrap()).collect();
        let user = UserId::new(user).unwrap();
        let key = registry.join(Member { user, groups, sink: Box::new(heard.clone()) });
        (key, heard)
    }

    fn publish(registry: &Registry, to: &str) -> u32 {
        let to = Address::parse(to).unwrap();
        registry.deliver(&Announcement { to, packet: Packet::text("x") })
    }

    #[test]
    fn all_sessions_of_a_user_hear_and_no_others() {
        let mut registry = Registry::default();
        let (_, first) = join(&mut registry, "ana", &[]);
        let (second_key, second) = join(&mut registry, "ana", &[]);
        let (_, other) = join(&mut registry, "luis", &[]);
        assert_eq!(publish(&registry, "u/ana/"), 2);
        registry.leave(second_key);
        assert_eq!(publish(&registry, "u/ana/"), 1);
        let counts = [&first, &second, &other].map(|heard| heard.0.lock().unwrap().len());
        assert_eq!(counts, [2, 1, 0]);
        assert_eq!(publish(&registry, "u/nobody/"), 0);
    }

    #[test]
    fn groups_and_everyone_are_reached_once_each() {
        let mut registry = Registry::default();
        let (key, _) = join(&mut registry, "ana", &["news", "news", "ops"]);
        join(&mut registry, "luis", &["ops"]);
        assert_eq!(publish(&registry, "g/news/"), 1);
        assert_eq!(publish(&registry, "g/ops/"), 2);
        assert_eq!(publish(&registry, "all/"), 2);
        registry.leave(key);
        assert_eq!(publish(&registry, "g/news/"), 0);
        assert_eq!(registry.groups.len(), 1);
        assert_eq!(registry.users.len(), 1);
    }

    #[test]
    fn leaving_twice_does_no_harm() {
        let mut registry = Registry::default();
        let (key, _) = join(&mut registry, "ana", &[]);
        registry.leave(key);
        registry.leave(key);
        assert!(registry.users.is_empty() && registry.members.is_empty());
    }
}
