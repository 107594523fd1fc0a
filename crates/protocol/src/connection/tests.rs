//! The connection on simulated time: every clause a case.

use proptest::prelude::*;

use super::*;

struct Peer {
    connection: Connection,
    start: Instant,
    now: Instant,
}

impl Peer {
    fn new() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "any instant serves as the origin of simulated time"
        )]
        let now = Instant::now();
        let connection = Connection::new(Arc::new(Limits::default()), now);
        Self { connection, start: now, now }
    }

    /// A connection that has joined the root namespace, its reply read.
    fn joined() -> Self {
        let mut peer = Self::new();
        peer.send("40").unwrap();
        assert!(matches!(peer.connection.poll_event(), Some(Event::Connect { .. })));
        peer.connection.accept("/", &Sid::new([1; 15]));
        assert_eq!(peer.sent(), ["40{\"sid\":\"AQEBAQEBAQEBAQEBAQEB\"}"]);
        peer
    }

    fn send(&mut self, packet: &str) -> Result<(), Close> {
        self.connection.handle_text(packet, self.now)
    }

    fn at(&mut self, seconds: u64) -> Result<(), Close> {
        self.now = self.start + Duration::from_secs(seconds);
        self.connection.handle_timeout(self.now)
    }

    fn sent(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.connection.poll_transmit())
            .map(|packet| String::from_utf8_lossy(packet.body()).into_owned())
            .collect()
    }

    fn event(&mut self) -> Message {
        match self.connection.poll_event() {
            Some(Event::Event(message) | Event::Ack(message)) => message,
            other => panic!("no message but {other:?}"),
        }
    }
}

#[test]
fn server_pings_each_interval_and_ends_without_a_pong() {
    let mut peer = Peer::joined();
    assert_eq!(peer.at(24), Ok(()));
    assert_eq!(peer.sent(), Vec::<String>::new());
    assert_eq!(peer.at(25), Ok(()));
    assert_eq!(peer.sent(), ["2"]);
    assert_eq!(peer.send("3"), Ok(()));
    assert_eq!(peer.at(50), Ok(()));
    assert_eq!(peer.sent(), ["2"]);
    assert_eq!(peer.at(69), Ok(()));
    assert_eq!(peer.at(70), Err(Close::PingTimeout));
}

#[test]
fn late_timer_does_not_extend_the_deadline() {
    let mut peer = Peer::joined();
    assert!(!peer.connection.expired(peer.start + Duration::from_secs(44)));
    assert!(peer.connection.expired(peer.start + Duration::from_secs(45)));
    assert_eq!(peer.at(45), Err(Close::PingTimeout));
}

#[test]
fn connection_without_a_namespace_ends() {
    let mut peer = Peer::new();
    peer.at(25).unwrap();
    peer.send("3").unwrap();
    assert_eq!(peer.at(44), Ok(()));
    assert_eq!(peer.at(45), Err(Close::Protocol));
}

#[test]
fn refused_namespace_does_not_count_as_joined() {
    let mut peer = Peer::new();
    peer.send("40/none,").unwrap();
    assert!(peer.connection.poll_event().is_some());
    peer.connection.refuse("/none", "Invalid namespace", None);
    assert_eq!(peer.sent(), ["44/none,{\"message\":\"Invalid namespace\"}"]);
    assert_eq!(peer.connection.poll_timeout(), peer.start + Duration::from_secs(25));
    peer.at(25).unwrap();
    peer.send("3").unwrap();
    assert_eq!(peer.at(45), Err(Close::Protocol));
}

#[test]
fn connect_carries_auth_and_refusal_carries_data() {
    let mut peer = Peer::new();
    peer.send("40{\"user\":\"42\"}").unwrap();
    let expected = Event::Connect { namespace: "/".into(), auth: Some("{\"user\":\"42\"}".into()) };
    assert_eq!(peer.connection.poll_event(), Some(expected));
    peer.connection.refuse("/", "unauthorized", Some("{\"reason\":\"no_user\"}"));
    assert_eq!(peer.sent(), ["44{\"message\":\"unauthorized\",\"data\":{\"reason\":\"no_user\"}}"]);
}

#[test]
fn events_and_acks_pass_with_their_arguments() {
    let mut peer = Peer::joined();
    peer.send("427[\"hello\",{\"a\": 1},[2]]").unwrap();
    let message = peer.event();
    assert_eq!((message.name.as_deref(), message.ack), (Some("hello"), Some(7)));
    let args: Vec<_> = message.args().iter().map(|arg| arg.get()).collect();
    assert_eq!(args, ["{\"a\": 1}", "[2]"]);
    peer.connection.acknowledge("/", 7, "[true]", &[]);
    assert_eq!(peer.sent(), ["437[true]"]);
    peer.send("439[1]").unwrap();
    assert_eq!(peer.event().ack, Some(9));
}

#[test]
fn attachments_follow_their_packet_in_order() {
    let mut peer = Peer::joined();
    let packet =
        "452-[\"up\",{\"_placeholder\":true,\"num\":1},{\"x\":{\"_placeholder\":true,\"num\":0}}]";
    peer.send(packet).unwrap();
    assert_eq!(peer.connection.poll_event(), None);
    peer.connection.handle_binary(&[1]).unwrap();
    peer.connection.handle_binary(&[2, 3]).unwrap();
    assert_eq!(peer.event().attachments, [vec![1], vec![2, 3]]);
    peer.connection.emit("/", "[\"d\",{\"_placeholder\":true,\"num\":0}]", &[vec![9].into()]);
    assert_eq!(peer.sent(), ["451-[\"d\",{\"_placeholder\":true,\"num\":0}]", "\t"]);
}

#[test]
fn attachments_that_never_come_end_the_connection() {
    let mut peer = Peer::joined();
    peer.send("451-[\"up\",{\"_placeholder\":true,\"num\":0}]").unwrap();
    peer.at(25).unwrap();
    peer.send("3").unwrap();
    assert_eq!(peer.at(30), Err(Close::Protocol));
}

#[test]
fn leaving_the_last_namespace_keeps_the_connection() {
    let mut peer = Peer::joined();
    peer.send("41").unwrap();
    assert_eq!(peer.connection.poll_event(), Some(Event::Left { namespace: "/".into() }));
    assert_eq!(peer.at(25), Ok(()));
    assert_eq!(peer.send("42[\"a\"]"), Err(Close::Protocol));
}

/// The table "Input outcomes" of the protocol reference: what ends a joined connection, and what
/// does not.
#[test]
fn bad_input_ends_the_connection_and_odd_input_does_not() {
    let breaches = [
        "40",
        "40[]",
        "40\"x\"",
        "44",
        "44{\"message\":\"x\"}",
        "42",
        "43",
        "42{}",
        "42[]",
        "42abc[\"a\"]",
        "42-1[\"a\"]",
        "42[null]",
        "42[{}]",
        "42[\"a\"",
        "42[\"connect\"]",
        "42[\"connect_error\"]",
        "42[\"disconnect\"]",
        "42[\"disconnecting\"]",
        "42[\"newListener\"]",
        "42[\"removeListener\"]",
        "47",
        "4",
        "41{}",
        "42/none,[\"a\"]",
        "41/none,",
        "45[\"a\"]",
        "450-[\"a\"]",
        "4511-[\"a\"]",
        "43[1]",
        "2",
        "2probe",
        "9",
        "",
        "451-[\"a\",{\"_placeholder\":true,\"num\":1}]",
        "451-[\"a\",{\"_placeholder\":true}]",
        "451-[\"a\",{\"_placeholder\":true,\"num\":-1}]",
        "451-[7]",
    ];
    for packet in breaches {
        assert_eq!(Peer::joined().send(packet), Err(Close::Protocol), "{packet:?}");
    }
    for packet in ["42[1]", "4399[\"unknown id\"]", "3", "0", "5", "6", "40/other,"] {
        assert_eq!(Peer::joined().send(packet), Ok(()), "{packet:?}");
    }
    assert_eq!(Peer::joined().send("1"), Err(Close::Client));
    assert_eq!(Peer::joined().connection.handle_binary(&[1]), Err(Close::Protocol));
    assert_eq!(Peer::new().send("42[\"a\"]"), Err(Close::Protocol), "before any join");
}

#[test]
fn text_between_attachments_ends_the_connection() {
    let mut peer = Peer::joined();
    peer.send("451-[\"a\",{\"_placeholder\":true,\"num\":0}]").unwrap();
    assert_eq!(peer.send("42[\"b\"]"), Err(Close::Protocol));
}

#[test]
fn size_limits_hold() {
    let mut peer = Peer::joined();
    let large = format!("42[\"{}\"]", "a".repeat(1_000_000));
    assert_eq!(peer.send(&large), Err(Close::TooLarge));
    assert_eq!(peer.connection.handle_binary(&vec![0; 1_000_001]), Err(Close::TooLarge));
    for n in 1..8 {
        peer.send(&format!("40/n{n},")).unwrap();
    }
    assert_eq!(peer.send("40/n8,"), Err(Close::Protocol));
}

proptest! {
    #[test]
    fn any_text_returns(packets in proptest::collection::vec("[0-7]?[0-9/,\\-\\[\\]{}\":a-zé]{0,40}", 1..20)) {
        let mut peer = Peer::joined();
        for packet in packets {
            if peer.send(&packet).is_err() {
                break;
            }
        }
    }

    #[test]
    fn emitted_events_decode_to_themselves(
        namespace in "(/|/[a-z]{1,8})",
        id in proptest::option::of(0..u64::MAX / 100),
        text in ".{0,40}",
    ) {
        let payload = serde_json::to_string(&("name", &text)).unwrap();
        let packet = socket::encode('2', &namespace, id, &payload);
        let body = std::str::from_utf8(packet.body()).unwrap();
        let received = socket::decode(body.strip_prefix('4').unwrap()).unwrap();
        prop_assert_eq!(received.namespace, namespace);
        prop_assert_eq!(received.ack, id);
        prop_assert_eq!(received.payload, payload);
    }
}
