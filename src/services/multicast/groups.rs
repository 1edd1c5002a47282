//! Who gets what is published in each channel.
//!
//! ```text
//!  channel of this node       here: services of this node    away: nodes that subscribed
//!  channel of another node    here: services of this node    (its owner has our subscription)
//! ```
//!
//! A group of another node's channel is there as long as somebody here wants it; one of ours until it is deleted.

use super::Channel;
use crate::limits::{MULTICAST_CHANNELS_MAX, MULTICAST_SUBSCRIBERS_MAX, MULTICAST_SUBSCRIPTIONS_MAX};
use crate::message::{Handle, HarborId};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Why nobody can subscribe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It would be a channel of this node, and is none.
    NoChannel,
    /// A bound is reached.
    Full,
}

/// Who gets what is published in one channel.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) here: BTreeSet<Handle>,
    /// Nodes that subscribed, with their multicast services. Empty for a channel of another node.
    pub(super) away: BTreeMap<HarborId, Handle>,
}

/// All groups of one node.
#[derive(Debug, Default)]
pub(super) struct Groups {
    table: HashMap<Channel, Group>,
    /// Members of all groups.
    members: usize,
}

impl Groups {
    pub(super) fn get(&self, channel: Channel) -> Option<&Group> {
        self.table.get(&channel)
    }

    pub(super) fn contains(&self, channel: Channel) -> bool {
        self.table.contains_key(&channel)
    }

    pub(super) fn is_full(&self) -> bool {
        self.table.len() >= MULTICAST_CHANNELS_MAX
    }

    /// A new channel of this node, without anybody. There is room, and no such channel.
    pub(super) fn create(&mut self, channel: Channel) {
        self.table.insert(channel, Group::default());
    }

    /// A service of this node subscribes.
    pub(super) fn enter(&mut self, own: HarborId, channel: Channel, service: Handle) -> Result<(), Refusal> {
        let here = self.table.get(&channel).map(|group| &group.here);
        match here {
            Some(here) if here.contains(&service) => return Ok(()),
            Some(here) if here.len() >= MULTICAST_SUBSCRIBERS_MAX => return Err(Refusal::Full),
            None if channel.owner() == own => return Err(Refusal::NoChannel),
            None if self.is_full() => return Err(Refusal::Full),
            Some(_) | None => {}
        }
        if self.members >= MULTICAST_SUBSCRIPTIONS_MAX {
            return Err(Refusal::Full);
        }
        self.members += 1;
        self.table.entry(channel).or_default().here.insert(service);
        Ok(())
    }

    /// Another node, with this multicast service, subscribes to a channel of this one.
    pub(super) fn enter_node(&mut self, channel: Channel, daemon: Handle) -> Result<(), Refusal> {
        let Some(group) = self.table.get_mut(&channel) else { return Err(Refusal::NoChannel) };
        let is_new = !group.away.contains_key(&daemon.harbor());
        if is_new && self.members >= MULTICAST_SUBSCRIPTIONS_MAX {
            return Err(Refusal::Full);
        }
        self.members += usize::from(is_new);
        group.away.insert(daemon.harbor(), daemon);
        Ok(())
    }

    /// A service of this node leaves. Whether nobody of this node is left.
    pub(super) fn leave(&mut self, channel: Channel, service: Handle) -> bool {
        let Some(group) = self.table.get_mut(&channel) else { return false };
        self.members -= usize::from(group.here.remove(&service));
        group.here.is_empty()
    }

    pub(super) fn leave_node(&mut self, channel: Channel, node: HarborId) {
        if let Some(group) = self.table.get_mut(&channel) {
            self.members -= usize::from(group.away.remove(&node).is_some());
        }
    }

    /// A channel is gone: who was in it.
    pub(super) fn remove(&mut self, channel: Channel) -> Option<Group> {
        let group = self.table.remove(&channel)?;
        self.members -= group.here.len() + group.away.len();
        Some(group)
    }

    /// A node is lost, and with it all that it subscribed to.
    pub(super) fn forget_node(&mut self, node: HarborId) {
        for group in self.table.values_mut() {
            self.members -= usize::from(group.away.remove(&node).is_some());
        }
    }

    /// The channels of a node that have subscribers here.
    pub(super) fn of_owner(&self, owner: HarborId) -> Vec<Channel> {
        self.table.keys().copied().filter(|channel| channel.owner() == owner).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: HarborId = HarborId::new(1);

    fn ours(number: u32) -> Channel {
        Channel::from_id(number << 8 | 1)
    }

    fn theirs(number: u32) -> Channel {
        Channel::from_id(number << 8 | 2)
    }

    fn service(local: u32) -> Handle {
        Handle::new(OWN, local)
    }

    fn daemon(node: u8) -> Handle {
        Handle::new(HarborId::new(node), 8)
    }

    #[test]
    fn members_are_counted_however_they_come_and_go() {
        let mut groups = Groups::default();
        groups.create(ours(1));
        for _ in 0..2 {
            assert_eq!(groups.enter(OWN, ours(1), service(8)), Ok(()));
            assert_eq!(groups.enter(OWN, theirs(1), service(8)), Ok(()));
            assert_eq!(groups.enter(OWN, theirs(1), service(9)), Ok(()));
            assert_eq!(groups.enter_node(ours(1), daemon(2)), Ok(()));
            assert_eq!(groups.enter_node(ours(1), daemon(3)), Ok(()));
        }
        assert_eq!(groups.members, 5);
        assert_eq!(groups.enter(OWN, ours(2), service(8)), Err(Refusal::NoChannel));
        assert_eq!(groups.enter_node(ours(2), daemon(2)), Err(Refusal::NoChannel));
        assert!(!groups.leave(theirs(1), service(8)) && !groups.leave(theirs(1), service(8)));
        assert!(groups.leave(theirs(1), service(9)));
        assert!(!groups.leave(ours(2), service(9)));
        groups.leave_node(ours(1), HarborId::new(3));
        groups.leave_node(ours(1), HarborId::new(3));
        assert_eq!(groups.members, 2);
        assert_eq!(groups.of_owner(HarborId::new(2)), [theirs(1)]);
        groups.forget_node(HarborId::new(2));
        assert_eq!(groups.members, 1);
        assert_eq!(groups.remove(ours(1)).map(|group| group.here.len()), Some(1));
        assert!(groups.remove(ours(1)).is_none());
        assert_eq!(groups.members, 0);
    }

    #[test]
    fn channels_their_subscribers_and_all_of_them_are_bounded() {
        let mut groups = Groups::default();
        let subscribers = MULTICAST_SUBSCRIBERS_MAX as u32;
        for number in 0..MULTICAST_CHANNELS_MAX as u32 {
            assert_eq!(groups.enter(OWN, theirs(number), service(8)), Ok(()));
        }
        assert!(groups.is_full());
        assert_eq!(groups.enter(OWN, theirs(1 << 20), service(8)), Err(Refusal::Full), "channels");
        for local in 9..8 + subscribers {
            assert_eq!(groups.enter(OWN, theirs(0), service(local)), Ok(()));
        }
        assert_eq!(groups.enter(OWN, theirs(0), service(8 + subscribers)), Err(Refusal::Full), "one channel");
        groups.remove(theirs(0));
        groups.create(ours(0));
        let mut fill = (1..).flat_map(|number| (9..9 + subscribers - 1).map(move |local| (number, local)));
        while groups.members < MULTICAST_SUBSCRIPTIONS_MAX {
            let (number, local) = fill.next().expect("there is no end");
            assert_eq!(groups.enter(OWN, theirs(number), service(local)), Ok(()));
        }
        assert_eq!(groups.enter(OWN, theirs(100), service(9)), Err(Refusal::Full), "all");
        assert_eq!(groups.enter_node(ours(0), daemon(2)), Err(Refusal::Full), "nodes too");
        assert_eq!(groups.enter(OWN, theirs(1), service(9)), Ok(()), "it is in already");
        assert!(groups.leave(theirs(200), service(8)));
        assert_eq!(groups.enter_node(ours(0), daemon(2)), Ok(()));
    }
}
