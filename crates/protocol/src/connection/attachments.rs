//! A packet whose attachments are still to come: bounded in count, bytes and time.

use std::time::Instant;

use bytes::Bytes;
use serde_json::Value;

use super::Message;
use crate::Close;

#[derive(Debug)]
pub(super) struct Incomplete {
    answer: bool,
    message: Message,
    missing: usize,
    bytes: usize,
    deadline: Instant,
}

impl Incomplete {
    /// # Errors
    /// A placeholder that stands for no attachment ends the connection.
    pub(super) fn new(
        answer: bool,
        message: Message,
        missing: usize,
        deadline: Instant,
    ) -> Result<Self, Close> {
        let payload: Value = serde_json::from_str(&message.payload).map_err(|_| Close::Protocol)?;
        if !placeholders_in_range(&payload, missing) {
            return Err(Close::Protocol);
        }
        Ok(Self { answer, message, missing, bytes: 0, deadline })
    }

    /// Adds an attachment; `true` if it was the last.
    ///
    /// # Errors
    /// Too many bytes end the connection.
    pub(super) fn add(&mut self, data: &[u8], max_bytes: usize) -> Result<bool, Close> {
        self.bytes += data.len();
        if self.bytes > max_bytes {
            return Err(Close::TooLarge);
        }
        self.message.attachments.push(Bytes::copy_from_slice(data));
        self.missing = self.missing.saturating_sub(1);
        Ok(self.missing == 0)
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The message, and whether it is an acknowledgement.
    pub(super) fn finish(self) -> (bool, Message) {
        (self.answer, self.message)
    }
}

/// Recursion is bounded: `serde_json` refuses to build a value nested deeper than 128.
fn placeholders_in_range(value: &Value, count: usize) -> bool {
    match value {
        Value::Array(items) => items.iter().all(|item| placeholders_in_range(item, count)),
        Value::Object(fields) if fields.get("_placeholder") == Some(&Value::Bool(true)) => fields
            .get("num")
            .and_then(Value::as_u64)
            .is_some_and(|num| usize::try_from(num).is_ok_and(|num| num < count)),
        Value::Object(fields) => fields.values().all(|item| placeholders_in_range(item, count)),
        _ => true,
    }
}
