//! What one connection has received, held against what was sent: right user, every number once and in order, and
//! the payload byte for byte.
//!
//! Counts faults and keeps the first few as examples; never stops a run.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::client::shortened;
use crate::payload::{EVERYONE, Shape};

/// A number this far ahead is a wrong payload, not a gap to keep a list of.
const MAX_GAP: u64 = 1_000_000;
const EXAMPLES: usize = 5;

/// Everything that went wrong in one run, and how much was looked at.
#[derive(Default)]
pub(crate) struct Tally {
    /// Deliveries that were right, or at least the first of their kind to come.
    pub(crate) received: u64,
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) out_of_order: u64,
    pub(crate) wrong_user: u64,
    pub(crate) malformed: u64,
    /// Connections that ended, though nobody asked.
    pub(crate) closed: u64,
    /// Events other than `notification`: counted, no fault.
    pub(crate) other_events: u64,
    pub(crate) examples: Vec<String>,
}

impl Tally {
    pub(crate) fn faults(&self) -> [(&'static str, u64); 6] {
        [
            ("lost", self.lost),
            ("duplicated", self.duplicated),
            ("out of order", self.out_of_order),
            ("for another user", self.wrong_user),
            ("malformed", self.malformed),
            ("closed connections", self.closed),
        ]
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.faults().iter().all(|(_, count)| *count == 0)
    }

    pub(crate) fn example(&mut self, text: impl FnOnce() -> String) {
        if self.examples.len() < EXAMPLES {
            self.examples.push(text());
        }
    }
}

/// The streams that one connection follows: its user's own, and everyone's.
pub(crate) struct Inbox {
    user: Box<str>,
    own: Stream,
    everyone: Stream,
}

impl Inbox {
    pub(crate) fn new(user: &str) -> Self {
        Self { user: user.into(), own: Stream::default(), everyone: Stream::default() }
    }

    /// Checks one event; returns when it was sent, if it is a right delivery.
    pub(crate) fn take(&mut self, event: &str, shape: &Shape, tally: &mut Tally) -> Option<u64> {
        let notification = match serde_json::from_str(event) {
            Ok(Event::Notification(notification)) => notification,
            Ok(Event::Other) => {
                tally.other_events += 1;
                return None;
            }
            Err(error) => {
                tally.malformed += 1;
                tally.example(|| format!("malformed: {error}: {}", shortened(event)));
                return None;
            }
        };
        let Some(payload) = shape.read(notification.data.get()) else {
            tally.malformed += 1;
            tally.example(|| format!("data was changed: {}", shortened(event)));
            return None;
        };
        let Self { user, own, everyone } = self;
        let stream = if payload.user == EVERYONE && notification.to == "all/" {
            everyone
        } else if payload.user == &**user && is_address_of(user, &notification.to) {
            own
        } else {
            tally.wrong_user += 1;
            tally.example(|| format!("user {user} got {}", shortened(event)));
            return None;
        };
        match stream.take(payload.number) {
            Arrival::InOrder => tally.received += 1,
            Arrival::Late => {
                tally.received += 1;
                tally.out_of_order += 1;
                tally.example(|| format!("user {user}, out of order: {}", shortened(event)));
            }
            Arrival::Again => {
                tally.duplicated += 1;
                tally.example(|| format!("user {user}, twice: {}", shortened(event)));
                return None;
            }
            Arrival::Absurd => {
                tally.malformed += 1;
                tally.example(|| format!("user {user}, impossible number: {}", shortened(event)));
                return None;
            }
        }
        Some(payload.sent)
    }

    /// Counts what never came of `own` and `everyone` sent ones. Called once, at the end.
    pub(crate) fn settle(&self, own: u64, everyone: u64, tally: &mut Tally) {
        let Self { user, .. } = self;
        for (stream, sent, whose) in
            [(&self.own, own, "own"), (&self.everyone, everyone, "everyone's")]
        {
            let lost = stream.lost(sent);
            if lost > 0 {
                tally.lost += lost;
                let first = stream.missing.first().unwrap_or(&stream.next);
                tally.example(|| {
                    format!("user {user}: {lost} of {sent} {whose} never came, first {first}")
                });
            }
        }
    }
}

fn is_address_of(user: &str, address: &str) -> bool {
    address.strip_prefix("u/").and_then(|rest| rest.strip_suffix('/')) == Some(user)
}

#[derive(Default)]
struct Stream {
    next: u64,
    missing: BTreeSet<u64>,
}

#[derive(Debug, PartialEq)]
enum Arrival {
    InOrder,
    Late,
    Again,
    Absurd,
}

impl Stream {
    fn take(&mut self, number: u64) -> Arrival {
        if number < self.next {
            return if self.missing.remove(&number) { Arrival::Late } else { Arrival::Again };
        }
        if number - self.next > MAX_GAP {
            return Arrival::Absurd;
        }
        self.missing.extend(self.next..number);
        self.next = number + 1;
        Arrival::InOrder
    }

    fn lost(&self, sent: u64) -> u64 {
        sent.saturating_sub(self.next) + self.missing.len() as u64
    }
}

enum Event<'a> {
    Notification(Notification<'a>),
    Other,
}

/// The members are all required; that they are there, with these types, is part of the check.
#[derive(serde::Deserialize)]
struct Notification<'a> {
    #[serde(borrow, rename = "id")]
    _id: Cow<'a, str>,
    #[serde(rename = "at")]
    _at: u64,
    #[serde(borrow)]
    to: Cow<'a, str>,
    #[serde(borrow, rename = "from")]
    _from: Cow<'a, str>,
    #[serde(borrow)]
    data: &'a RawValue,
}

impl<'de> Deserialize<'de> for Event<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EventVisitor;
        impl<'de> Visitor<'de> for EventVisitor {
            type Value = Event<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an event's array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Event<'de>, A::Error> {
                let name: Cow<'de, str> =
                    array.next_element()?.ok_or_else(|| A::Error::custom("no name"))?;
                let event = if name == "notification" {
                    let first = array.next_element()?;
                    Event::Notification(first.ok_or_else(|| A::Error::custom("no argument"))?)
                } else {
                    Event::Other
                };
                // The offset, where there is one, and whatever a later version may add.
                while array.next_element::<IgnoredAny>()?.is_some() {}
                Ok(event)
            }
        }
        deserializer.deserialize_seq(EventVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Payload;

    fn event(to: &str, user: &str, number: u64) -> String {
        let mut data = String::new();
        Shape::new(200).write(&mut data, &Payload { user, number, sent: 9 });
        format!(
            r#"["notification",{{"id":"1","at":2,"to":"{to}","from":"b","data":{data}}},"offset"]"#
        )
    }

    /// The tally when three were sent to user 1, and two to everyone.
    fn after(events: &[String]) -> Tally {
        let (mut tally, mut inbox) = (Tally::default(), Inbox::new("1"));
        for event in events {
            inbox.take(event, &Shape::new(200), &mut tally);
        }
        inbox.settle(3, 2, &mut tally);
        tally
    }

    fn own(number: u64) -> String {
        event("u/1/", "1", number)
    }

    fn all(number: u64) -> String {
        event("all/", EVERYONE, number)
    }

    #[test]
    fn two_streams_complete_and_in_order_are_clean() {
        let tally = after(&[own(0), all(0), own(1), own(2), all(1)]);
        assert_eq!(tally.received, 5);
        assert!(tally.is_clean(), "{:?}", tally.examples);
    }

    #[test]
    fn lost_twice_and_out_of_order_are_told_apart() {
        let faults = |events: &[String]| {
            let Tally { received, lost, duplicated, out_of_order, .. } = after(events);
            (received, lost, duplicated, out_of_order)
        };
        assert_eq!(faults(&[own(0), own(2), all(0), all(1)]), (4, 1, 0, 0));
        assert_eq!(faults(&[own(0), own(1), own(2), all(0)]), (4, 1, 0, 0));
        assert_eq!(faults(&[own(0), own(2), own(1), all(0), all(1)]), (5, 0, 0, 1));
        assert_eq!(faults(&[own(0), own(1), own(1), own(2), all(0), all(1)]), (5, 0, 1, 0));
        assert_eq!(faults(&[]), (0, 5, 0, 0));
    }

    #[test]
    fn another_users_and_a_misaddressed_one_are_wrong() {
        for wrong in [
            event("u/2/", "2", 0),
            event("u/1/", "2", 0),
            event("u/11/", "1", 0),
            event("all/", "1", 0),
        ] {
            assert_eq!(after(std::slice::from_ref(&wrong)).wrong_user, 1, "{wrong}");
        }
    }

    #[test]
    fn missing_members_changed_data_and_absurd_numbers_are_malformed_other_events_are_not() {
        for bad in [
            own(0).replace(r#""at":2,"#, ""),
            own(0).replace(r#""seq":0"#, r#""seq": 0"#),
            own(0).replace(r#""id":"1""#, r#""id":1"#),
            own(u64::MAX),
            r#"["notification"]"#.to_owned(),
            "[]".to_owned(),
        ] {
            assert_eq!(after(std::slice::from_ref(&bad)).malformed, 1, "{bad}");
        }
        let tally = after(&[r#"["inbox:read",{"all":true},"offset"]"#.to_owned()]);
        assert_eq!((tally.other_events, tally.malformed), (1, 0));
    }
}
