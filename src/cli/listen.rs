//! `listen`: a user's notifications in a terminal. A small Socket.IO client over WebSocket, that comes
//! back when the connection breaks.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it prints what it hears")]

use std::time::Duration;

use awc::error::WsClientError;
use awc::ws::{Frame, Message};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;

use super::{Exit, ListenArgs};

/// Between attempts: the first, and the longest after doubling.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// Prints until interrupted.
///
/// # Errors
/// The hub refuses the user, or the URL is no hub's.
pub fn listen(args: ListenArgs) -> Result<(), Exit> {
    if args.user.is_none() && args.cookie.is_none() {
        return Err(Exit::Usage("say who: --user 42, or --cookie name=value".to_owned()));
    }
    if args.url.starts_with("https:") {
        let advice = "use the hub's http:// listener, or the stock client";
        return Err(Exit::Usage(format!(
            "{}: https is not available yet here; {advice}",
            args.url
        )));
    }
    actix::System::new().block_on(async {
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => {
                interrupted.map_err(|error| Exit::Environment(error.to_string()))
            }
            end = keep_listening(&args) => Err(end),
        }
    })
}

/// How a connection ended.
enum End {
    /// It never came up: is that a hub at all?
    Unreachable(String),
    /// It was up, and broke.
    Broken(String),
    /// The hub says no, and would say it again.
    Refused(String),
}

async fn keep_listening(args: &ListenArgs) -> Exit {
    let mut backoff = BACKOFF.0;
    let mut was_up = false;
    loop {
        let why = match connect(args).await {
            End::Refused(reason) => return Exit::No(reason),
            End::Unreachable(why) if !was_up => {
                return Exit::Environment(format!("{}: {why}", args.url));
            }
            End::Unreachable(why) => why,
            End::Broken(why) => {
                was_up = true;
                backoff = BACKOFF.0;
                why
            }
        };
        eprintln!("connection lost ({why}); trying again in {backoff:?}");
        tokio::time::sleep(backoff).await;
        backoff = (backoff * 2).min(BACKOFF.1);
    }
}

async fn connect(args: &ListenArgs) -> End {
    let url = format!("{}/socket.io/?EIO=4&transport=websocket", args.url.trim_end_matches('/'));
    let client = awc::Client::default();
    let mut request = client.ws(url).max_frame_size(16 << 20);
    if let Some(cookie) = &args.cookie {
        request = request.set_header_if_none(awc::http::header::COOKIE, cookie.as_str());
    }
    let (_, mut socket) = match request.connect().await {
        Ok(connected) => connected,
        Err(WsClientError::InvalidResponseStatus(status)) => {
            let why = "that lets nobody in now, or is no hub; its log and its /readyz say why";
            return End::Unreachable(format!("it answers {status}: {why}"));
        }
        Err(error) => return End::Unreachable(format!("{error}; does the hub run there?")),
    };
    let auth = args.user.as_ref().map(|user| serde_json::json!({ "user": user }).to_string());
    let join = format!("40{}", auth.unwrap_or_default());
    if let Err(error) = socket.send(Message::Text(join.into())).await {
        return End::Broken(error.to_string());
    }
    while let Some(frame) = socket.next().await {
        let text = match frame {
            Ok(Frame::Text(text)) => text,
            Ok(Frame::Close(reason)) => {
                let why = reason.and_then(|reason| reason.description);
                return End::Broken(why.unwrap_or_else(|| "closed".to_owned()));
            }
            Ok(_) => continue,
            Err(error) => return End::Broken(error.to_string()),
        };
        let text = String::from_utf8_lossy(&text);
        if text == "2" {
            if let Err(error) = socket.send(Message::Text("3".into())).await {
                return End::Broken(error.to_string());
            }
        } else if let Some(error) = text.strip_prefix("44") {
            let error: Value = serde_json::from_str(error).unwrap_or_default();
            let reason = error.pointer("/data/reason").or(error.get("message"));
            let reason = reason.and_then(Value::as_str).unwrap_or("no reason");
            return End::Refused(format!("refused: {reason}"));
        } else if text.starts_with("40") {
            eprintln!(
                "listening at {} for {}",
                args.url,
                args.user.as_deref().unwrap_or("the cookie's user")
            );
        } else if let Some(reason) = session_end(&text) {
            return End::Refused(format!("the session is over, {reason}"));
        } else if let Some(event) = text.strip_prefix("42") {
            print(event, args.json);
        }
    }
    End::Broken("closed".to_owned())
}

/// Why the session of this connection is over, if that is what the hub says.
fn session_end(text: &str) -> Option<String> {
    let event = text.strip_prefix("42").filter(|event| event.starts_with("[\"session:end\""))?;
    let event: Value = serde_json::from_str(event).ok()?;
    Some(event.pointer("/1/reason").and_then(Value::as_str).unwrap_or("-").to_owned())
}

fn print(event: &str, json: bool) {
    let Ok(Value::Array(args)) = serde_json::from_str::<Value>(event) else { return };
    let name = args.first().and_then(Value::as_str).unwrap_or_default();
    let Some(body) = args.get(1) else { return };
    if json {
        println!("{}", serde_json::json!({ "event": name, "notification": body }));
        return;
    }
    let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or("-").to_owned();
    println!(
        "{name} from {} to {}: {}",
        text("from"),
        text("to"),
        body.get("data").unwrap_or(&Value::Null)
    );
}
