//! The `data` of a benchmark notification: whom it is for, its number in that stream, when it was sent, and padding.
//!
//! Written by hand and read by hand, since the hub promises the bytes untouched and Node writes the same compact
//! JSON: any other byte is a fault. The padding depends on the number, so a mixture of two messages is noticed.

use std::fmt::Write as _;
use std::time::Instant;

/// The user named in a broadcast's data.
pub(crate) const EVERYONE: &str = "all";

const ALPHABET: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";

/// Nanoseconds of the monotonic clock since the bench began; sender and receiver are one process.
#[derive(Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

#[derive(Debug, PartialEq)]
pub(crate) struct Payload<'a> {
    pub(crate) user: &'a str,
    /// Counts from 0, separately for each user and for everyone.
    pub(crate) number: u64,
    pub(crate) sent: u64,
}

/// The sizes in which payloads come, and the padding they are cut from.
pub(crate) struct Shape {
    size: usize,
    padding: String,
}

impl Shape {
    /// The least size in which the longest fields fit.
    pub(crate) const MIN: usize = 100;

    pub(crate) fn new(size: usize) -> Self {
        let padding = ALPHABET.repeat(2 + size / ALPHABET.len());
        Self { size, padding }
    }

    /// Appends `payload` as exactly `size` bytes of JSON.
    pub(crate) fn write(&self, out: &mut String, payload: &Payload<'_>) {
        let start = out.len();
        let Payload { user, number, sent } = payload;
        // Writing to a String cannot fail.
        let _ = write!(out, r#"{{"user":"{user}","seq":{number},"sent":{sent},"pad":""#);
        let used = out.len() - start + r#""}"#.len();
        out.push_str(self.pad(*number, self.size.saturating_sub(used)));
        out.push_str(r#""}"#);
    }

    /// Reads what [`Shape::write`] wrote; `None` if a single byte differs.
    pub(crate) fn read<'a>(&self, data: &'a str) -> Option<Payload<'a>> {
        let (user, rest) = data.strip_prefix(r#"{"user":""#)?.split_once(r#"","seq":"#)?;
        let (number, rest) = rest.split_once(r#","sent":"#)?;
        let (sent, rest) = rest.split_once(r#","pad":""#)?;
        let padding = rest.strip_suffix(r#""}"#)?;
        let number = number.parse().ok()?;
        let sent = sent.parse().ok()?;
        let same = data.len() == self.size && padding == self.pad(number, padding.len());
        same.then_some(Payload { user, number, sent })
    }

    fn pad(&self, number: u64, length: usize) -> &str {
        let from = usize::try_from(number % ALPHABET.len() as u64).unwrap_or(0);
        self.padding.get(from..from + length).unwrap_or_default()
    }
}

#[cfg(test)]
#[expect(clippy::string_slice, reason = "a test may panic")]
mod tests {
    use super::*;

    fn written(size: usize, number: u64) -> String {
        let mut out = String::new();
        Shape::new(size).write(&mut out, &Payload { user: "42", number, sent: 7 });
        out
    }

    #[test]
    fn it_is_json_of_the_asked_size_and_reads_back() {
        for size in [Shape::MIN, 200, 5_000] {
            for number in [0, 1, 63, 64, u64::MAX] {
                let data = written(size, number);
                assert_eq!(data.len(), size);
                assert!(serde_json::from_str::<serde_json::Value>(&data).is_ok());
                assert_eq!(
                    Shape::new(size).read(&data),
                    Some(Payload { user: "42", number, sent: 7 })
                );
            }
        }
    }

    #[test]
    fn a_changed_byte_a_cut_and_another_size_are_noticed() {
        let shape = Shape::new(200);
        let data = written(200, 3);
        for at in 0..data.len() {
            let changed = format!("{}~{}", &data[..at], &data[at + 1..]);
            let is_user = (9..11).contains(&at);
            assert_eq!(shape.read(&changed).is_some(), is_user, "{changed}");
            assert_eq!(shape.read(&data[..at]), None);
        }
        assert_eq!(shape.read(&written(201, 3)), None);
    }
}
