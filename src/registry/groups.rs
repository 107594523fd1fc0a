//! Who is in which group: members' keys by name. What a member may join it does not know.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use crate::model::GroupName;

/// A group is here as long as it has a member. Sets, as a group may have everyone in it, and each of them
/// comes and goes by itself.
#[derive(Debug, Default)]
pub(super) struct Groups {
    members: HashMap<GroupName, HashSet<usize>>,
}

impl Groups {
    /// Adds a member; true if it is the group's first.
    pub(super) fn enter(&mut self, group: &GroupName, key: usize) -> bool {
        let members = self.members.entry(group.clone()).or_default();
        members.insert(key) && members.len() == 1
    }

    /// Removes a member; true if it was the group's last.
    pub(super) fn depart(&mut self, group: &GroupName, key: usize) -> bool {
        let Entry::Occupied(mut members) = self.members.entry(group.clone()) else { return false };
        let left = members.get_mut().remove(&key);
        let last = members.get().is_empty();
        if last {
            members.remove();
        }
        left && last
    }

    pub(super) fn members(&self, group: &GroupName) -> impl Iterator<Item = usize> {
        self.members.get(group).into_iter().flatten().copied()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &GroupName> {
        self.members.keys()
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }
}
