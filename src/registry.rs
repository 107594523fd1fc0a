//! Who is here: user → sessions, group → sessions, and who wants to know about it.
//!
//! It hands each announcement to the sessions it is for. It does no I/O, reads no payload and knows
//! no session: only a [`Sink`] for each, which whoever lets a client join brings along.

mod change;
mod groups;
mod kicked;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use actix::{
    Actor, Addr, AsyncContext, Context, Handler, MailboxError, Message, MessageResult, Recipient,
};
use protocol::{Close, Packet};
use serde::Serialize;
use slab::Slab;

use crate::model::{Address, GroupName, UserId};
use change::ChangeOf;
pub use change::{Change, Changed, Seat};
use groups::Groups;
use kicked::Kicked;

/// Where a session takes packets.
pub trait Sink: Send {
    /// Queues a packet; false if the session is over or too slow.
    fn deliver(&self, packet: &Packet) -> bool;
    /// Ends the session.
    fn end(&self, reason: Close);
    /// Tells the client that its session is over, and ends it: it does not come back by itself.
    fn dismiss(&self, reason: Close);
}

/// The actor. There is one.
#[derive(Default)]
pub struct Registry {
    members: Slab<Member>,
    users: HashMap<UserId, Sessions>,
    groups: Groups,
    kicked: Kicked,
    joined: u64,
    /// Notifiers that subscribe per address; bounded by the notifiers.
    watchers: Vec<Recipient<Interest>>,
    /// One address for all memberships, since each clone of one costs two allocations.
    address: OnceLock<Arc<Addr<Self>>>,
}

struct Member {
    user: UserId,
    /// What its session lists.
    granted: Box<[GroupName]>,
    /// Where it is.
    groups: Box<[GroupName]>,
    /// Tells it from one that has its key later.
    number: u64,
    sink: Box<dyn Sink>,
    /// It is on its way out, and hears nothing more.
    dismissed: bool,
}

/// Keys of members. Nearly all users have one or two sessions.
type Sessions = smallvec::SmallVec<[usize; 2]>;

/// A client comes in. The answer is its membership: dropped, it leaves.
#[derive(Message)]
#[rtype(result = "Result<Membership, Outdated>")]
pub struct Join {
    /// Who it is.
    pub user: UserId,
    /// When a store was asked that says so, if one was.
    pub asked: Option<Instant>,
    /// Groups it belongs to from the start.
    pub groups: Vec<GroupName>,
    /// Where its packets go.
    pub sink: Box<dyn Sink>,
}

/// The user was disconnected at this time, and the answer that lets the client in is older: ask anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outdated(pub Instant);

/// Ends all connections of a user: their session is over. Who comes back is asked about anew. The answer
/// is how many there were.
#[derive(Message)]
#[rtype(result = "u32")]
pub struct Disconnect(pub UserId);

/// Announcements, in the order in which everyone is to hear them. The answer is, one for one, how
/// many sessions took them, or were ended.
#[derive(Message)]
#[rtype(result = "Vec<u32>")]
pub struct Publish(pub Vec<Step>);

/// What has its place in the order.
pub enum Step {
    /// A notification.
    Announce(Announcement),
    /// The end of a user's connections.
    Disconnect(UserId),
}

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
    seat: Seat,
}

impl Membership {
    /// Changes its groups; what is asked for first is done first. At most as many are under way as its
    /// client may send events.
    pub fn change(
        &self,
        change: Change,
    ) -> impl Future<Output = Result<Changed, MailboxError>> + use<> {
        self.seat.registry.send(ChangeOf { key: self.seat.key, change })
    }

    /// Its place, for whoever sees its session change.
    pub fn seat(&self) -> Seat {
        self.seat.clone()
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Leave(usize);

impl Drop for Membership {
    #[expect(clippy::disallowed_methods, reason = "one message per joined session")]
    fn drop(&mut self) {
        self.seat.registry.do_send(Leave(self.seat.key));
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
            if self.groups.enter(group, key) {
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
            if self.groups.depart(&group, key) {
                lost.push(Address::Group(group));
            }
        }
        self.tell(lost.into_iter().map(Interest::Lost));
    }

    fn deliver(&self, announcement: &Announcement) -> u32 {
        let take = |member: &Member| {
            u32::from(!member.dismissed && member.sink.deliver(&announcement.packet))
        };
        let by_key = |key| self.members.get(key).map_or(0, take);
        match &announcement.to {
            Address::All => self.members.iter().map(|(_, member)| take(member)).sum(),
            Address::User(user) => {
                self.users.get(user).into_iter().flatten().copied().map(by_key).sum()
            }
            Address::Group(group) => self.groups.members(group).map(by_key).sum(),
        }
    }

    /// Its members stay until they leave: their keys are still held.
    fn disconnect(&mut self, user: &UserId) -> u32 {
        self.kicked.note(user, now());
        let mut ended = 0;
        for key in self.users.get(user).into_iter().flatten() {
            if let Some(member) = self.members.get_mut(*key).filter(|member| !member.dismissed) {
                member.dismissed = true;
                member.sink.dismiss(Close::Kicked);
                ended += 1;
            }
        }
        ended
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
        let Join { user, asked, groups, sink } = join;
        if let Some(at) = asked.and_then(|asked| self.kicked.since(&user, asked)) {
            return MessageResult(Err(Outdated(at)));
        }
        let number = self.joined;
        self.joined += 1;
        let granted: Box<[GroupName]> = groups.into();
        let groups = granted.clone();
        let key = self.join(Member { user, granted, groups, number, sink, dismissed: false });
        let registry = self.address.get_or_init(|| Arc::new(ctx.address())).clone();
        MessageResult(Ok(Membership { seat: Seat { key, number, registry } }))
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

    fn handle(&mut self, Publish(steps): Publish, _: &mut Self::Context) -> Vec<u32> {
        let step = |step: &Step| match step {
            Step::Announce(announcement) => self.deliver(announcement),
            Step::Disconnect(user) => self.disconnect(user),
        };
        steps.iter().map(step).collect()
    }
}

impl Handler<Disconnect> for Registry {
    type Result = u32;

    fn handle(&mut self, Disconnect(user): Disconnect, _: &mut Self::Context) -> u32 {
        self.disconnect(&user)
    }
}

impl Handler<Watch> for Registry {
    type Result = ();

    fn handle(&mut self, Watch(watcher): Watch, _: &mut Self::Context) {
        let users = self.users.keys().cloned().map(Address::User);
        let groups = self.groups.names().cloned().map(Address::Group);
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

#[expect(clippy::disallowed_methods, reason = "when a user was disconnected")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::model::GroupPattern;

    #[derive(Clone, Default)]
    struct Heard(Arc<Mutex<Vec<Packet>>>);

    impl Sink for Heard {
        fn deliver(&self, packet: &Packet) -> bool {
            self.0.lock().unwrap().push(packet.clone());
            true
        }

        fn end(&self, _: Close) {}

        fn dismiss(&self, reason: Close) {
            self.0.lock().unwrap().push(Packet::text(reason.as_str()));
        }
    }

    fn join(registry: &mut Registry, user: &str, groups: &[&str]) -> (usize, Heard) {
        let heard = Heard::default();
        let groups = names(groups);
        let granted = groups.clone();
        let user = UserId::new(user).unwrap();
        let sink = Box::new(heard.clone());
        let number = 0;
        let key = registry.join(Member { user, granted, groups, number, sink, dismissed: false });
        (key, heard)
    }

    fn names(groups: &[&str]) -> Box<[GroupName]> {
        groups.iter().map(|group| GroupName::new(group).unwrap()).collect()
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
    fn who_is_disconnected_hears_nothing_more_and_is_counted_once() {
        let mut registry = Registry::default();
        let (_, first) = join(&mut registry, "ana", &["ops"]);
        let (_, second) = join(&mut registry, "ana", &[]);
        let (_, other) = join(&mut registry, "luis", &["ops"]);
        let user = UserId::new("ana").unwrap();
        assert_eq!([registry.disconnect(&user), registry.disconnect(&user)], [2, 0]);
        assert_eq!([publish(&registry, "u/ana/"), publish(&registry, "g/ops/")], [0, 1]);
        let counts = [&first, &second, &other].map(|heard| heard.0.lock().unwrap().len());
        assert_eq!(counts, [1, 1, 1]);
        assert_eq!(registry.disconnect(&UserId::new("nobody").unwrap()), 0);
    }

    #[test]
    fn groups_are_joined_as_granted_and_left_when_they_are_not_any_more() {
        let mut registry = Registry::default();
        let (key, _) = join(&mut registry, "ana", &["ops", "staff"]);
        let group = |name: &str| GroupName::new(name).unwrap();
        let enter = |name: &str, by_pattern| Change::Enter { group: group(name), by_pattern };
        assert_eq!(registry.change(key, enter("secret", false)), Changed::NotGranted);
        assert_eq!(registry.change(key, enter("news-es", true)), Changed::Done);
        assert_eq!(registry.change(key, Change::Exit(group("staff"))), Changed::Done);
        let heard = |registry: &Registry| {
            ["g/ops/", "g/staff/", "g/news-es/", "g/new/"].map(|to| publish(registry, to))
        };
        assert_eq!(heard(&registry), [1, 0, 1, 0]);
        let patterns = [GroupPattern::new("news-*").unwrap()];
        registry.regroup(key, names(&["staff", "new"]).into(), &patterns);
        assert_eq!(heard(&registry), [0, 0, 1, 1], "staff was left at will");
        assert_eq!(registry.change(key, enter("ops", false)), Changed::NotGranted);
        assert_eq!(registry.change(key, enter("staff", false)), Changed::Done);
        registry.regroup(key, Vec::new(), &[]);
        assert_eq!(heard(&registry), [0, 0, 0, 0]);
        assert_eq!(registry.groups.len(), 0);
        for n in 0..1_000 {
            assert_eq!(registry.change(key, enter(&n.to_string(), true)), Changed::Done);
        }
        assert_eq!(registry.change(key, enter("one-more", true)), Changed::TooMany);
        registry.leave(key);
        assert_eq!(registry.groups.len(), 0);
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
