//! `notify`: one notification from the shell.

#![expect(clippy::print_stderr, reason = "it says what it did")]

use std::io::Read as _;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{Exit, NotifyArgs};
use crate::model::Address;

/// Milliseconds to wait for the hub to take it.
const PATIENCE: i32 = 3_000;

/// Pushes a notification.
///
/// # Errors
/// The arguments are wrong, or no hub takes it in time.
pub fn notify(args: &NotifyArgs) -> Result<(), Exit> {
    if !args.push {
        let message = "receipts are not available yet; add --push to send without one";
        return Err(Exit::Usage(message.to_owned()));
    }
    if !(args.via.starts_with("tcp://") || args.via.starts_with("ipc://")) {
        return Err(Exit::Usage(
            "--via takes tcp://… or ipc://…; http://… is not available yet".to_owned(),
        ));
    }
    Address::parse(&args.to).map_err(|error| Exit::Usage(format!("--to {}: {error}", args.to)))?;
    let frames = [args.to.clone().into_bytes(), body(args)?.into_bytes()];
    let frames = frames.into_iter().chain(args.id.clone().map(String::into_bytes));
    push(&args.via, frames).map_err(|error| {
        Exit::Environment(match error {
            zmq::Error::EAGAIN => format!(
                "nobody takes messages at {}; does the hub run, with a `pull` notifier bound there?",
                args.via
            ),
            other => format!("{}: {other}", args.via),
        })
    })?;
    eprintln!(
        "pushed to {} (no receipt: whether somebody heard it, `pregon listen` or /api/status says)",
        args.to
    );
    Ok(())
}

fn body(args: &NotifyArgs) -> Result<String, Exit> {
    let text = if args.data == "-" {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .map_err(|error| Exit::Usage(format!("standard input: {error}")))?;
        text.trim_end().to_owned()
    } else {
        args.data.clone()
    };
    let data = match serde_json::from_str::<&RawValue>(&text) {
        Ok(json) => json.get().to_owned(),
        Err(_) => Value::from(text).to_string(),
    };
    let mut rest = Map::new();
    if let Some(event) = &args.event {
        rest.insert("event".to_owned(), event.as_str().into());
    }
    if let Some(key) = &args.key {
        rest.insert("key".to_owned(), key.as_str().into());
    }
    if let Some(ttl) = &args.ttl {
        let seconds = ttl.trim_end_matches('s').parse::<u32>();
        let seconds =
            seconds.map_err(|_| Exit::Usage(format!("--ttl {ttl}: write seconds, as 60s")))?;
        rest.insert("ttl".to_owned(), seconds.into());
    }
    let rest = Value::Object(rest).to_string();
    // The data is the caller's, byte for byte.
    let comma = if rest == "{}" { "" } else { "," };
    Ok(format!("{{\"data\":{data}{comma}{}", rest.trim_start_matches('{')))
}

fn push(to: &str, frames: impl Iterator<Item = Vec<u8>>) -> Result<(), zmq::Error> {
    let context = zmq::Context::new();
    let socket = context.socket(zmq::PUSH)?;
    // Without it, a message would be queued for a hub that is not there, and count as sent.
    socket.set_immediate(true)?;
    socket.set_sndtimeo(PATIENCE)?;
    socket.set_linger(PATIENCE)?;
    socket.connect(to)?;
    socket.send_multipart(frames, 0)
}
