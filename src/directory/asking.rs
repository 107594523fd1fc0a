//! The thread that asks: a blocking REQ socket, one question at a time. What an answer means is not for
//! it to say.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;
use std::{io, thread};

use super::answer::MAX_BYTES;

/// How long an answer may take.
const PATIENCE_MS: i32 = 3_000;

const QUESTION: &str = "{\"op\":\"list\",\"v\":1}";

/// The bytes of an answer, or why there are none.
pub(super) type Heard = Result<Vec<u8>, String>;

/// Starts to ask, and calls `hear` with each answer. It asks again when it has been told, by the sender
/// that is returned, how long to wait; it ends once that sender is gone.
///
/// # Errors
/// There is no thread to be had.
pub(super) fn start(
    address: String,
    hear: impl Fn(Heard) + Send + 'static,
) -> io::Result<SyncSender<Duration>> {
    let (sender, pauses) = sync_channel(1);
    let name = "directory".to_owned();
    thread::Builder::new().name(name).spawn(move || ask_on(&address, &hear, &pauses))?;
    Ok(sender)
}

fn ask_on(address: &str, hear: &impl Fn(Heard), pauses: &Receiver<Duration>) {
    // Its own, so that many notifiers do not take the directory's place in libzmq's table.
    let context = zmq::Context::new();
    let mut socket = None;
    loop {
        let heard = ask(&context, &mut socket, address);
        if heard.is_err() {
            // A REQ that has no answer takes no other question ("Lazy Pirate").
            socket = None;
        }
        hear(heard);
        let Ok(pause) = pauses.recv() else { return };
        if pauses.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected) {
            return;
        }
    }
}

fn ask(context: &zmq::Context, socket: &mut Option<zmq::Socket>, address: &str) -> Heard {
    let open = match socket.take() {
        Some(open) => open,
        None => open(context, address).map_err(|error| format!("connect {address}: {error}"))?,
    };
    let open = socket.insert(open);
    let failed = |error| match error {
        zmq::Error::EAGAIN => "no answer within 3 seconds".to_owned(),
        error => format!("zeromq: {error}"),
    };
    open.send(QUESTION, 0).map_err(failed)?;
    let answer = open.recv_msg(0).map_err(failed)?;
    if answer.get_more() {
        return Err("the answer has several frames; answer with one".to_owned());
    }
    if answer.len() > MAX_BYTES {
        return Err(format!("the answer has {} bytes; at most {MAX_BYTES}", answer.len()));
    }
    Ok(answer.to_vec())
}

fn open(context: &zmq::Context, address: &str) -> Result<zmq::Socket, zmq::Error> {
    let socket = context.socket(zmq::REQ)?;
    socket.set_linger(0)?;
    socket.set_sndtimeo(PATIENCE_MS)?;
    socket.set_rcvtimeo(PATIENCE_MS)?;
    socket.set_handshake_ivl(5_000)?;
    // Beyond this libzmq drops the directory without a word; what is a little too large gets one.
    socket.set_maxmsgsize(4 * i64::try_from(MAX_BYTES).unwrap_or(i64::MAX / 4))?;
    socket.connect(address)?;
    Ok(socket)
}
