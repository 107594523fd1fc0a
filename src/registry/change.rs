//! How a member's groups change while it is here: at its own wish, and as its session changes.

use std::sync::Arc;

use actix::{Addr, Handler, Message, MessageResult};

use super::{Interest, Registry};
use crate::model::{Address, GroupName, GroupPattern};

/// Groups that one connection may be in, if its session does not list more.
const MOST: usize = 1_000;

/// What a member wants.
#[derive(Clone, Debug)]
pub enum Change {
    /// To join.
    Enter {
        /// Where.
        group: GroupName,
        /// Whether a pattern lets it in, whatever its session lists.
        by_pattern: bool,
    },
    /// To leave.
    Exit(GroupName),
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// It is as wanted, by this or before.
    Done,
    /// Neither a pattern nor its session lets it in.
    NotGranted,
    /// It is in as many groups as it may be.
    TooMany,
}

#[derive(Message)]
#[rtype(result = "Changed")]
pub(super) struct ChangeOf {
    pub(super) key: usize,
    pub(super) change: Change,
}

/// A member's place, for whoever sees its session change. It does not keep the member.
#[derive(Clone, Debug)]
pub struct Seat {
    pub(super) key: usize,
    /// Tells the member from one that has its key later.
    pub(super) number: u64,
    pub(super) registry: Arc<Addr<Registry>>,
}

/// What a member's session lists now.
#[derive(Message)]
#[rtype(result = "()")]
struct Regroup {
    key: usize,
    number: u64,
    granted: Vec<GroupName>,
    patterns: Arc<[GroupPattern]>,
}

impl Seat {
    /// The member's session lists these groups now: it joins those that are new, and leaves those that
    /// neither the session nor a pattern grants any more.
    #[expect(clippy::disallowed_methods, reason = "a message per connection whose session changed")]
    pub fn regroup(&self, granted: Vec<GroupName>, patterns: Arc<[GroupPattern]>) {
        let Self { key, number, .. } = *self;
        self.registry.do_send(Regroup { key, number, granted, patterns });
    }
}

impl Registry {
    pub(super) fn change(&mut self, key: usize, change: Change) -> Changed {
        let Some(member) = self.members.get_mut(key) else { return Changed::NotGranted };
        let (group, enters) = match change {
            Change::Enter { group, by_pattern } => {
                if !by_pattern && !member.granted.contains(&group) {
                    return Changed::NotGranted;
                }
                (group, true)
            }
            Change::Exit(group) => (group, false),
        };
        if member.groups.contains(&group) == enters {
            return Changed::Done;
        }
        if enters && member.groups.len() >= MOST {
            return Changed::TooMany;
        }
        let groups = std::mem::take(&mut member.groups).into_iter();
        member.groups = if enters {
            groups.chain([group.clone()]).collect()
        } else {
            groups.filter(|one| *one != group).collect()
        };
        let change = if enters {
            self.groups.enter(&group, key).then_some(Interest::Gained(Address::Group(group)))
        } else {
            self.groups.depart(&group, key).then_some(Interest::Lost(Address::Group(group)))
        };
        self.tell(change.into_iter());
        Changed::Done
    }

    pub(super) fn regroup(
        &mut self,
        key: usize,
        granted: Vec<GroupName>,
        patterns: &[GroupPattern],
    ) {
        let Some(member) = self.members.get_mut(key) else { return };
        let before = std::mem::replace(&mut member.granted, granted.into());
        let lost = |group: &&GroupName| {
            !member.granted.contains(group) && !patterns.iter().any(|one| one.matches(group))
        };
        let lost: Vec<_> = member.groups.iter().filter(lost).cloned().collect();
        let gained = member.granted.iter().filter(|group| !before.contains(group));
        let gained: Vec<_> = gained.cloned().collect();
        for group in lost {
            self.change(key, Change::Exit(group));
        }
        for group in gained {
            self.change(key, Change::Enter { group, by_pattern: false });
        }
    }
}

impl Handler<ChangeOf> for Registry {
    type Result = MessageResult<ChangeOf>;

    fn handle(
        &mut self,
        ChangeOf { key, change }: ChangeOf,
        _: &mut Self::Context,
    ) -> Self::Result {
        MessageResult(self.change(key, change))
    }
}

impl Handler<Regroup> for Registry {
    type Result = ();

    fn handle(&mut self, regroup: Regroup, _: &mut Self::Context) {
        let Regroup { key, number, granted, patterns } = regroup;
        if self.members.get(key).is_some_and(|member| member.number == number) {
            self.regroup(key, granted, &patterns);
        }
    }
}
