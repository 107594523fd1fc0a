//! Who may begin a connection: how many there are in all, how many from one address, and how many
//! handshakes an address may make in a second.
//!
//! A value that is told the time: it has no lock, no clock and no I/O. The server keeps the only one,
//! and asks it once for each handshake. It counts what strangers do, so it is bounded itself.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// What can turn a stranger away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Connections in all.
    Connections,
    /// Connections from one address.
    ConnectionsPerAddress,
    /// Handshakes from one address, by time.
    HandshakesPerAddress,
    /// Connections that have not joined yet.
    Unjoined,
    /// TCP connections from one address that have sent no request yet.
    UnfinishedPerAddress,
    /// Addresses that are remembered for their handshakes alone.
    Addresses,
}

impl Limit {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Connections,
        Self::ConnectionsPerAddress,
        Self::HandshakesPerAddress,
        Self::Unjoined,
        Self::UnfinishedPerAddress,
        Self::Addresses,
    ];

    /// Its name in log and metric: the setting's, if there is one.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "max_connections",
            Self::ConnectionsPerAddress => "connections_per_address",
            Self::HandshakesPerAddress => "handshakes_per_address",
            Self::Unjoined => "max_unjoined",
            Self::UnfinishedPerAddress => "unfinished_per_address",
            Self::Addresses => "addresses",
        }
    }

    /// What whoever meets it is told.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::HandshakesPerAddress => "rate",
            _ => "too_many",
        }
    }
}

/// The limits; 0 is no limit.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Terms {
    pub(crate) connections: usize,
    pub(crate) connections_per_address: usize,
    /// In a second; ten seconds' worth may come at once.
    pub(crate) handshakes_per_address: usize,
}

/// An IPv4 address, or an IPv6 network of 64 bits: who has one of those has all addresses in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    V4(u32),
    V6(u64),
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip.to_bits()),
            IpAddr::V6(ip) => Self::V6((ip.to_bits() >> 64) as u64),
        }
    }
}

/// A limit was met; after so long it is worth another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Met {
    pub(crate) limit: Limit,
    pub(crate) retry_after: Duration,
}

/// Counts places, and handshakes by address.
#[derive(Debug)]
pub(crate) struct Limiter {
    terms: Terms,
    places: usize,
    addresses: HashMap<Address, Entry>,
    /// Addresses that hold a place; so many at most as there are connections.
    holding: usize,
    /// As many addresses as make it worth looking for those that can be forgotten.
    sweep_at: usize,
    swept: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    places: usize,
    /// When the handshakes so far are paid off, each with its share of a second.
    owed: Instant,
}

impl Entry {
    fn idle(&self, now: Instant) -> bool {
        self.places == 0 && self.owed <= now
    }
}

impl Limiter {
    pub(crate) fn new(terms: Terms) -> Self {
        let addresses = HashMap::new();
        Self { terms, places: 0, addresses, holding: 0, sweep_at: FEW, swept: None }
    }

    /// A handshake from this address: it takes a place, to be given back by [`Limiter::release`].
    ///
    /// # Errors
    /// The limit that it meets. What it has used of its rate is used all the same.
    pub(crate) fn admit(&mut self, address: Address, now: Instant) -> Result<(), Met> {
        let Terms { connections, connections_per_address, .. } = self.terms;
        if self.looks_at_addresses() {
            self.make_room(address, now)?;
            let share = self.share();
            let entry = self.addresses.entry(address).or_insert(Entry { places: 0, owed: now });
            if let Some(share) = share {
                let debt = entry.owed.saturating_duration_since(now);
                let too_much = debt.saturating_sub(SAVED.saturating_sub(share));
                if !too_much.is_zero() {
                    return Err(met(Limit::HandshakesPerAddress, too_much));
                }
                entry.owed = entry.owed.max(now) + share;
            }
            if connections_per_address != 0 && entry.places >= connections_per_address {
                return Err(met(Limit::ConnectionsPerAddress, LATER));
            }
        }
        if connections != 0 && self.places >= connections {
            return Err(met(Limit::Connections, LATER));
        }
        self.places += 1;
        if let Some(entry) = self.addresses.get_mut(&address) {
            entry.places += 1;
            self.holding += usize::from(entry.places == 1);
        }
        Ok(())
    }

    /// A place is free again.
    pub(crate) fn release(&mut self, address: Address, now: Instant) {
        self.places = self.places.saturating_sub(1);
        let Some(entry) = self.addresses.get_mut(&address) else { return };
        entry.places = entry.places.saturating_sub(1);
        if entry.places > 0 {
            return;
        }
        self.holding = self.holding.saturating_sub(1);
        if entry.idle(now) {
            self.addresses.remove(&address);
            self.give_back();
        }
    }

    fn looks_at_addresses(&self) -> bool {
        self.terms.connections_per_address != 0 || self.terms.handshakes_per_address != 0
    }

    /// What a handshake costs of a second.
    fn share(&self) -> Option<Duration> {
        let rate = u32::try_from(self.terms.handshakes_per_address).unwrap_or(u32::MAX);
        Duration::from_secs(1).checked_div(rate)
    }

    /// Forgets who need not be remembered, before one more address is.
    fn make_room(&mut self, newcomer: Address, now: Instant) -> Result<(), Met> {
        if self.addresses.contains_key(&newcomer) {
            return Ok(());
        }
        let full = |limiter: &Self| limiter.addresses.len() - limiter.holding >= MOST;
        // A look at all of them costs: when it has just been in vain, it is not worth another.
        let lately = |at: Instant| now.saturating_duration_since(at) < SWEEP_EVERY;
        let worth_it = self.addresses.len() >= self.sweep_at || full(self);
        if worth_it && !self.swept.is_some_and(lately) {
            self.addresses.retain(|_, entry| !entry.idle(now));
            self.give_back();
            self.sweep_at = FEW.max(2 * self.addresses.len());
            self.swept = Some(now);
        }
        if full(self) { Err(met(Limit::Addresses, LATER)) } else { Ok(()) }
    }

    fn give_back(&mut self) {
        if self.addresses.capacity() > FEW && self.addresses.capacity() / 8 > self.addresses.len() {
            self.addresses.shrink_to(2 * self.addresses.len());
        }
    }
}

fn met(limit: Limit, retry_after: Duration) -> Met {
    Met { limit, retry_after }
}

/// What an address that was quiet for as long may make of its handshakes at once.
const SAVED: Duration = Duration::from_secs(10);

/// Nobody knows when somebody else goes.
const LATER: Duration = Duration::from_secs(1);

/// Addresses that are remembered though they hold no place.
const MOST: usize = 65_536;

/// So few addresses need no sweeping.
const FEW: usize = 1024;

const SWEEP_EVERY: Duration = Duration::from_millis(100);

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test's time has to begin somewhere")]
mod tests {
    use super::*;

    const ANA: Address = Address::V4(1);
    const LUIS: Address = Address::V4(2);

    fn limiter(all: usize, per_address: usize, rate: usize) -> (Limiter, Instant) {
        let terms = Terms {
            connections: all,
            connections_per_address: per_address,
            handshakes_per_address: rate,
        };
        (Limiter::new(terms), Instant::now())
    }

    fn limit(outcome: Result<(), Met>) -> Option<Limit> {
        outcome.err().map(|met| met.limit)
    }

    #[test]
    fn places_are_counted_by_address_and_in_all() {
        let (mut limiter, now) = limiter(3, 2, 0);
        assert_eq!(limiter.admit(ANA, now), Ok(()));
        assert_eq!(limiter.admit(ANA, now), Ok(()));
        assert_eq!(limit(limiter.admit(ANA, now)), Some(Limit::ConnectionsPerAddress));
        assert_eq!(limiter.admit(LUIS, now), Ok(()));
        assert_eq!(limit(limiter.admit(LUIS, now)), Some(Limit::Connections));
        limiter.release(ANA, now);
        assert_eq!(limiter.admit(LUIS, now), Ok(()));
        for address in [ANA, LUIS, LUIS] {
            limiter.release(address, now);
        }
        assert_eq!((limiter.places, limiter.holding, limiter.addresses.len()), (0, 0, 0));
    }

    #[test]
    fn a_rate_allows_a_burst_and_says_when_it_is_worth_another_try() {
        let (mut limiter, begun) = limiter(0, 0, 2);
        for _ in 0..20 {
            assert_eq!(limiter.admit(ANA, begun), Ok(()));
        }
        let met = limiter.admit(ANA, begun).unwrap_err();
        assert_eq!((met.limit, met.retry_after.as_millis()), (Limit::HandshakesPerAddress, 500));
        assert_eq!(limiter.admit(LUIS, begun), Ok(()), "another's rate is another's");
        let then = begun + met.retry_after;
        assert_eq!(limiter.admit(ANA, then), Ok(()));
        assert!(limiter.admit(ANA, then).is_err(), "one, not a burst");
        let quiet = then + SAVED;
        assert_eq!((0..30).filter(|_| limiter.admit(ANA, quiet).is_ok()).count(), 20);
    }

    #[test]
    fn what_strangers_leave_behind_is_bounded_and_passes() {
        let (mut limiter, begun) = limiter(0, 10, 50);
        let many = u32::try_from(MOST).unwrap();
        for n in 0..many {
            assert_eq!(limiter.admit(Address::V4(n), begun), Ok(()));
            limiter.release(Address::V4(n), begun);
        }
        assert_eq!(limit(limiter.admit(Address::V4(many), begun)), Some(Limit::Addresses));
        assert_eq!(limiter.admit(ANA, begun), Ok(()), "who is known already is not turned away");
        let later = begun + Duration::from_secs(1);
        assert_eq!(limiter.admit(Address::V4(many), later), Ok(()));
        assert_eq!(limiter.addresses.len(), 2, "who holds a place is not forgotten");
        assert!(limiter.addresses.capacity() <= 4 * FEW);
    }

    #[test]
    fn who_holds_a_place_takes_no_room_from_the_others() {
        let (mut limiter, now) = limiter(0, 10, 50);
        let many = u32::try_from(MOST).unwrap() + 10;
        for n in 0..many {
            assert_eq!(limiter.admit(Address::V4(n), now), Ok(()));
        }
    }

    #[test]
    fn ipv6_is_counted_by_network_and_mapped_ipv4_by_address() {
        let address = |text: &str| Address::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(address("2001:db8:1:2::1"), address("2001:db8:1:2:ffff::9"));
        assert_ne!(address("2001:db8:1:2::1"), address("2001:db8:1:3::1"));
        assert_eq!(address("::ffff:10.0.0.1"), address("10.0.0.1"));
        assert_ne!(address("10.0.0.1"), address("10.0.0.2"));
    }
}
