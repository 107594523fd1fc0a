//! Frames to notifications: the JSON codec. Everything from a notifier is checked here, once.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::config::NotifierConfig;
use crate::model::{Address, EventName, Notification, UserId};

/// Why a message is refused; the name is the same in log and metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Not `[to, body]`, `[to, body, id]` or one frame.
    BadFrames,
    /// The body is not the JSON object it should be, or nests too deep.
    BadJson,
    /// `to` is no address.
    BadAddress,
    /// The event is one that the client or the hub gives a meaning of its own.
    BadEvent,
    /// More bytes than `max_message`.
    TooLarge,
    /// An address outside `allow`.
    NotGranted,
}

impl Refused {
    /// All reasons.
    pub const ALL: [Self; 6] = [
        Self::BadFrames,
        Self::BadJson,
        Self::BadAddress,
        Self::BadEvent,
        Self::TooLarge,
        Self::NotGranted,
    ];

    /// The name in log and metric.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadFrames => "bad_frames",
            Self::BadJson => "bad_json",
            Self::BadAddress => "bad_address",
            Self::BadEvent => "bad_event",
            Self::TooLarge => "too_large",
            Self::NotGranted => "not_granted",
        }
    }

    /// What the notifier's author should do about it.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::BadFrames => "send [to, body], [to, body, id] or one frame with \"to\" inside",
            Self::BadJson => {
                "send a JSON object with \"data\": {\"data\":…,\"event\"?,\"ttl\"?,\"key\"?}, nested at most 128 deep; to _ctl/disconnect, {\"user\":\"…\"}"
            }
            Self::BadAddress => "write u/<user>/, g/<group>/ or all/, with ids percent-encoded",
            Self::BadEvent => "choose an event name that the client library does not reserve",
            Self::TooLarge => {
                "send less or to fewer addresses at once, or raise max_message of this notifier"
            }
            Self::NotGranted => "allow the address in this notifier's allow list",
        }
    }
}

/// Bytes that the frames of one message, or of one batch, may take together.
pub(super) const MAX_FAN_OUT: usize = 4 << 20;

/// Bytes of a frame besides its data, about.
const FRAME_OVERHEAD: usize = 256;

/// Bytes that a notification's frame takes, about.
pub(super) fn frame_size(notification: &Notification) -> usize {
    notification.data.get().len() + FRAME_OVERHEAD
}

/// What one message held.
#[derive(Debug)]
pub enum Decoded {
    /// Notifications: one, or one for each address of a list.
    Notifications(Vec<Notification>),
    /// A user's connections are to end.
    Disconnect {
        /// Whose.
        user: UserId,
        /// The notifier's own id.
        id: Option<Arc<str>>,
    },
    /// A sign of life.
    Heartbeat,
}

/// Reads a message. `frames` holds the first frames of it; a message has at most three.
///
/// # Errors
/// It is refused, as a whole.
pub fn decode(frames: &[impl AsRef<[u8]>], config: &NotifierConfig) -> Result<Decoded, Refused> {
    let size: usize = frames.iter().map(|frame| frame.as_ref().len()).sum();
    if size > config.max_message {
        return Err(Refused::TooLarge);
    }
    match frames {
        [to, ..] if to.as_ref() == b"_hb/" => Ok(Decoded::Heartbeat),
        [one] => single(one.as_ref(), config),
        [to, body, rest @ ..] if rest.len() < 2 => {
            let to = text(to.as_ref()).ok_or(Refused::BadAddress)?;
            // The third frame of a `sub` is its sequence, not an id.
            let id = match rest {
                [id] if config.transport.has_ids() => {
                    Some(text(id.as_ref()).filter(|id| valid_id(id)).ok_or(Refused::BadFrames)?)
                }
                _ => None,
            };
            let id = id.map(Arc::from);
            if to.starts_with(CONTROL) {
                return control(to, body.as_ref(), id, config);
            }
            let body: Body<'_> = parse(body.as_ref())?;
            let notification = build(to, &body, id, config)?;
            Ok(Decoded::Notifications(vec![notification]))
        }
        _ => Err(Refused::BadFrames),
    }
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(borrow, default)]
    event: Option<Cow<'a, str>>,
    /// Seconds. Nothing is kept yet, so it changes nothing; but it must be right.
    #[serde(default, rename = "ttl")]
    _ttl: Option<u32>,
    #[serde(borrow, default)]
    key: Option<Cow<'a, str>>,
}

/// What a single frame carries besides its body; other forms have frames for it.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    to: To<'a>,
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum To<'a> {
    #[serde(borrow)]
    One(Cow<'a, str>),
    Many(Vec<Cow<'a, str>>),
}

fn single(frame: &[u8], config: &NotifierConfig) -> Result<Decoded, Refused> {
    let envelope: Envelope<'_> = parse(frame)?;
    let id = match &envelope.id {
        Some(id) if !valid_id(id) => return Err(Refused::BadJson),
        id => id.as_deref().map(Arc::from),
    };
    if let To::One(to) = &envelope.to
        && to.starts_with(CONTROL)
    {
        return control(to, frame, id, config);
    }
    let body: Body<'_> = parse(frame)?;
    let to = match &envelope.to {
        To::One(to) => std::slice::from_ref(to),
        To::Many(list) if list.is_empty() => return Err(Refused::BadAddress),
        To::Many(list) => list.as_slice(),
    };
    // Each address gets a frame of its own: what a small message may become is bounded, too.
    if to.len() * (body.data.get().len() + FRAME_OVERHEAD) > MAX_FAN_OUT {
        return Err(Refused::TooLarge);
    }
    let mut notifications: Vec<Notification> = Vec::with_capacity(to.len());
    let mut seen = HashSet::new();
    for to in to.iter().filter(|to| seen.insert(&***to)) {
        let notification = match notifications.first() {
            None => build(to, &body, id.clone(), config)?,
            Some(first) => Notification { to: granted(to, config)?, ..first.clone() },
        };
        notifications.push(notification);
    }
    Ok(Decoded::Notifications(notifications))
}

/// What begins the addresses of orders to the hub itself. A notifier may give them only if this very
/// prefix is in its `allow`.
pub(super) const CONTROL: &str = "_ctl/";

#[derive(Deserialize)]
struct Whom<'a> {
    #[serde(borrow)]
    user: Cow<'a, str>,
}

fn control(
    to: &str,
    body: &[u8],
    id: Option<Arc<str>>,
    config: &NotifierConfig,
) -> Result<Decoded, Refused> {
    if !config.may_control() {
        return Err(Refused::NotGranted);
    }
    if to != "_ctl/disconnect" {
        return Err(Refused::BadAddress);
    }
    let Whom { user } = parse(body)?;
    let user = UserId::new(&user).map_err(|_| Refused::BadJson)?;
    Ok(Decoded::Disconnect { user, id })
}

fn text(frame: &[u8]) -> Option<&str> {
    std::str::from_utf8(frame).ok()
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refused> {
    let text = text(body).ok_or(Refused::BadJson)?;
    // serde would also read an array, field by field.
    if !text.trim_start().starts_with('{') {
        return Err(Refused::BadJson);
    }
    serde_json::from_str(text).map_err(|_| Refused::BadJson)
}

fn build(
    to: &str,
    body: &Body<'_>,
    id: Option<Arc<str>>,
    config: &NotifierConfig,
) -> Result<Notification, Refused> {
    let to = granted(to, config)?;
    let event = match &body.event {
        Some(name) => EventName::new(name).map_err(|_| Refused::BadEvent)?,
        None => EventName::default(),
    };
    if body.key.as_ref().is_some_and(|key| !valid_id(key)) {
        return Err(Refused::BadJson);
    }
    if too_deep(body.data.get()) {
        return Err(Refused::BadJson);
    }
    Ok(Notification { to, event, data: body.data.to_owned().into(), id })
}

fn granted(to: &str, config: &NotifierConfig) -> Result<Address, Refused> {
    let address = Address::parse(to).map_err(|_| Refused::BadAddress)?;
    let granted = config.allow.iter().any(|prefix| to.starts_with(prefix.as_str()));
    granted.then_some(address).ok_or(Refused::NotGranted)
}

/// Ids and keys are kept, so they are bounded.
fn valid_id(id: &str) -> bool {
    (1..=256).contains(&id.len())
}

/// Whether valid JSON nests deeper than 128; without recursion, as it may nest as deep as it is long.
fn too_deep(json: &str) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_u32, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                if depth > 128 {
                    return true;
                }
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> NotifierConfig {
        NotifierConfig {
            allow: vec!["u/".to_owned(), "all/".to_owned()],
            ..NotifierConfig::pull("t")
        }
    }

    fn refusal(frames: &[&[u8]]) -> Option<Refused> {
        decode(frames, &config()).err()
    }

    fn notifications(frames: &[&[u8]]) -> Vec<Notification> {
        match decode(frames, &config()) {
            Ok(Decoded::Notifications(notifications)) => notifications,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_form_is_read() {
        let two = notifications(&[b"u/42/", b"{\"data\": [1,  2]}"]);
        assert_eq!(two[0].data.get(), "[1,  2]");
        assert_eq!(two[0].event.as_str(), "notification");
        let three = notifications(&[b"u/42/", b"{\"data\":null,\"event\":\"order\"}", b"id-1"]);
        assert_eq!(three[0].id.as_deref(), Some("id-1"));
        assert_eq!(three[0].event.as_str(), "order");
        let one =
            notifications(&[b"{\"to\":\"all/\",\"data\":1,\"id\":\"x\",\"ttl\":60,\"key\":\"k\"}"]);
        assert_eq!((&one[0].to, one[0].id.as_deref()), (&Address::All, Some("x")));
        let many = notifications(&[b"{\"to\":[\"u/1/\",\"u/2/\",\"u/1/\"],\"data\":1}"]);
        assert_eq!(many.iter().map(|n| n.to.to_string()).collect::<Vec<_>>(), ["u/1/", "u/2/"]);
        assert!(matches!(decode(&[b"_hb/", b"{}" as &[u8]], &config()), Ok(Decoded::Heartbeat)));
    }

    #[test]
    fn bad_messages_are_refused_by_name() {
        let large = vec![b' '; 70_000];
        let body: &[u8] = b"{\"data\":1}";
        let cases: [(&[&[u8]], Refused); 19] = [
            (&[], Refused::BadFrames),
            (&[b"u/1/", body, b"id", b"4"], Refused::BadFrames),
            (&[b"u/1/", body, b""], Refused::BadFrames),
            (&[b"u/1/", b""], Refused::BadJson),
            (&[b"u/1/", b"{}"], Refused::BadJson),
            (&[b"u/1/", b"[1]"], Refused::BadJson),
            (&[b"u/1/", b"{\"data\":1}x"], Refused::BadJson),
            (&[b"u/1/", b"{\"data\":nul}"], Refused::BadJson),
            (&[b"u/1/", b"{\"data\":\"\xff\"}"], Refused::BadJson),
            (&[b"u/1/", b"{\"data\":1,\"ttl\":-1}"], Refused::BadJson),
            (&[b"u/1/", b"{\"data\":1,\"key\":\"\"}"], Refused::BadJson),
            (&[b"u/1", body], Refused::BadAddress),
            (&[b"\xff", body], Refused::BadAddress),
            (&[b"{\"to\":[],\"data\":1}"], Refused::BadAddress),
            (&[b"{\"to\":[\"u/1/\",\"nope\"],\"data\":1}"], Refused::BadAddress),
            (&[b"{\"data\":1}"], Refused::BadJson),
            (&[b"u/1/", b"{\"data\":1,\"event\":\"connect\"}"], Refused::BadEvent),
            (&[b"u/1/", &large], Refused::TooLarge),
            (&[b"g/news/", body], Refused::NotGranted),
        ];
        for (frames, reason) in cases {
            assert_eq!(refusal(frames), Some(reason), "{frames:?}");
        }
    }

    #[test]
    fn order_to_disconnect_needs_its_own_permission() {
        let order: [&[u8]; 2] = [b"_ctl/disconnect", b"{\"user\":\"42\"}"];
        assert_eq!(refusal(&order), Some(Refused::NotGranted));
        let one = b"{\"to\":\"_ctl/disconnect\",\"user\":\"42\",\"id\":\"x\"}";
        assert_eq!(refusal(&[one]), Some(Refused::NotGranted));
        assert_eq!(
            refusal(&[b"{\"to\":[\"_ctl/disconnect\"],\"data\":1}"]),
            Some(Refused::BadAddress)
        );

        let granted =
            NotifierConfig { allow: vec!["_ctl/".to_owned()], ..NotifierConfig::pull("t") };
        let read = |frames: &[&[u8]]| match decode(frames, &granted) {
            Ok(Decoded::Disconnect { user, id }) => Ok((user, id.as_deref().map(str::to_owned))),
            Ok(other) => panic!("{other:?}"),
            Err(reason) => Err(reason),
        };
        let user = UserId::new("42").unwrap();
        assert_eq!(read(&order), Ok((user.clone(), None)));
        assert_eq!(read(&[one]), Ok((user, Some("x".to_owned()))));
        let cases: [(&[&[u8]], Refused); 5] = [
            (&[b"_ctl/", order[1]], Refused::BadAddress),
            (&[b"_ctl/restart", order[1]], Refused::BadAddress),
            (&[order[0], b"{\"user\":\"\"}"], Refused::BadJson),
            (&[order[0], b"{\"data\":1}"], Refused::BadJson),
            (&[b"u/42/", b"{\"data\":1}"], Refused::NotGranted),
        ];
        for (frames, reason) in cases {
            assert_eq!(read(frames), Err(reason), "{frames:?}");
        }
    }

    #[test]
    fn long_list_cannot_multiply_a_message_without_bound() {
        let to: Vec<String> = (0..3_100).map(|n| format!("u/{n}/")).collect();
        let frame = |data: usize| {
            serde_json::json!({ "to": to, "data": "x".repeat(data) }).to_string().into_bytes()
        };
        assert_eq!(refusal(&[&frame(1_000)]), None);
        assert_eq!(refusal(&[&frame(30_000)]), Some(Refused::TooLarge));
    }

    #[test]
    fn depth_is_bounded_and_brackets_in_strings_do_not_count() {
        let nested = |n: usize| format!("{{\"data\":{}{}}}", "[".repeat(n), "]".repeat(n));
        assert_eq!(refusal(&[b"u/1/", nested(128).as_bytes()]), None);
        assert_eq!(refusal(&[b"u/1/", nested(129).as_bytes()]), Some(Refused::BadJson));
        assert_eq!(refusal(&[b"u/1/", nested(30_000).as_bytes()]), Some(Refused::BadJson));
        let text = format!("{{\"data\":\"\\\"{}\"}}", "[".repeat(500));
        assert_eq!(refusal(&[b"u/1/", text.as_bytes()]), None);
    }
}
