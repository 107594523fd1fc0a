//! rust_socketio for the matrix of stock clients: `rust-client URL polling|websocket|upgrade`. It prints
//! "result" and a JSON object: what it was sent back. Knows nothing of what is right; the test does.

use std::error::Error;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rust_socketio::client::Client;
use rust_socketio::{ClientBuilder, Payload, TransportType};
use serde_json::{Value, json};

/// After that, the server counts as silent.
const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let url = args.next().ok_or("no URL")?;
    let transport = match args.next().as_deref() {
        Some("polling") => TransportType::Polling,
        Some("websocket") => TransportType::Websocket,
        Some("upgrade") => TransportType::WebsocketUpgrade,
        other => return Err(format!("no such transport: {other:?}").into()),
    };
    let (opened, open) = channel();
    let (heard, back) = channel();
    let client = ClientBuilder::new(url)
        .transport_type(transport)
        .reconnect(false)
        .on("auth", move |_, _| _ = opened.send(()))
        .on("message-back", move |payload, _| _ = heard.send(plain(payload)))
        .on("error", |error, _| eprintln!("error: {error:?}"))
        .connect()?;
    open.recv_timeout(PATIENCE)?;
    client.emit("message", text())?;
    let text_back = back.recv_timeout(PATIENCE)?;
    client.emit("message", binary())?;
    let binary_back = back.recv_timeout(PATIENCE)?;
    let ack = ask(&client, text())?.recv_timeout(PATIENCE)?;
    let result = json!({ "text": text_back, "binary": binary_back, "ack": ack });
    println!("result {result}");
    client.disconnect()?;
    Ok(())
}

fn text() -> Payload {
    Payload::Text(vec![json!("¡hola! 🎉"), json!(17), json!({ "a": [true, null, "€"] })])
}

/// One attachment is all that it can send. And without 1E: at that byte it takes what a WebSocket brings
/// apart, as if it were a polling payload.
fn binary() -> Payload {
    Payload::Binary((0..=255).filter(|byte| *byte != 0x1e).collect::<Vec<u8>>().into())
}

/// With text only: a question with an attachment it sends as if it were an answer.
fn ask(client: &Client, payload: Payload) -> Result<Receiver<Value>, Box<dyn Error>> {
    let (answered, answers) = channel();
    let hear = move |payload, _| {
        let mut values = plain(payload);
        // The arguments of a text answer come as one value.
        let args = values.get_mut(0).filter(|first| first.is_array()).map(Value::take);
        _ = answered.send(args.unwrap_or(values));
    };
    client.emit_with_ack("message-with-ack", payload, PATIENCE, hear)?;
    Ok(answers)
}

/// Arguments as JSON, bytes in base64.
fn plain(payload: Payload) -> Value {
    match payload {
        Payload::Text(values) => Value::Array(values),
        Payload::Binary(bytes) => json!([{ "base64": STANDARD.encode(&bytes) }]),
        #[expect(deprecated, reason = "the crate still has it")]
        Payload::String(string) => json!([string]),
    }
}
