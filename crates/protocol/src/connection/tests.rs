//! The connection on simulated time: every clause a case.

use std::time::Duration;

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
        let connection = Connection::new(Arc::new(Limits::default()), Revision::Four, now);
        Self { connection, start: now, now }
    }

    /// A connection that has joined the root namespace, its reply read.
    fn joined() -> Self {
        let mut peer = Self::new();
        peer.send("40").unwrap();
        assert!(matches!(peer.connection.poll_event(), Some(Event::Connect { .. })));
        peer.connection.accept("/", &Sid::new([1; 15]), None);
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
fn client_that_is_refused_again_and_again_is_cut() {
    let mut peer = Peer::new();
    let most = Limits::default().max_namespaces;
    for n in 0..most {
        peer.send(&format!("40{{\"token\":\"{n}\"}}")).unwrap();
        assert!(peer.connection.poll_event().is_some());
        peer.connection.refuse("/", "unauthorized", None);
    }
    assert_eq!(peer.sent().len(), most);
    assert_eq!(peer.send("40{\"token\":\"more\"}"), Err(Close::Rate));
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
    peer.connection.ask("/", 9, "[\"how many\"]", &[]);
    assert_eq!(peer.sent(), ["429[\"how many\"]"]);
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
fn attachments_of_a_namespace_left_meanwhile_are_taken_and_unheard() {
    let mut peer = Peer::joined();
    peer.send("452-[\"up\",{\"_placeholder\":true,\"num\":0}]").unwrap();
    peer.connection.handle_binary(&[1]).unwrap();
    peer.connection.leave("/", peer.now);
    assert_eq!(peer.connection.handle_binary(&[2]), Ok(()));
    assert_eq!(peer.connection.poll_event(), None);
    assert_eq!(peer.send("40"), Ok(()));
}

#[test]
fn leaving_the_last_namespace_keeps_the_connection_for_a_while() {
    let mut peer = Peer::joined();
    peer.send("41").unwrap();
    assert_eq!(peer.connection.poll_event(), Some(Event::Left { namespace: "/".into() }));
    assert_eq!(peer.at(25), Ok(()));
    peer.send("3").unwrap();
    assert_eq!(peer.send("42[\"a\"]"), Err(Close::Protocol));
    assert_eq!(peer.at(44), Ok(()));
    assert_eq!(peer.at(45), Err(Close::Protocol), "it has to join again, as at first");
}

#[test]
fn answers_end_with_their_namespace() {
    let mut peer = Peer::joined();
    peer.connection.ask("/", 1, "[\"who\"]", &[]);
    peer.connection.leave("/", peer.now);
    peer.send("40").unwrap();
    peer.connection.poll_event();
    peer.connection.accept("/", &Sid::new([1; 15]), None);
    peer.send("431[]").unwrap();
    assert_eq!(peer.connection.poll_event(), None);
}

/// The protocol's input table, row by row: what ends a joined connection.
#[test]
fn input_that_ends_the_connection() {
    let rows: [(&str, &[&str]); 15] = [
        ("a second CONNECT to a joined namespace", &["40"]),
        ("a CONNECT whose auth is no object", &["40[]", "40\"x\"", "40{", "401{}"]),
        ("any CONNECT_ERROR", &["44", "44{\"message\":\"x\"}"]),
        ("an EVENT or ACK without a payload", &["42", "43", "431"]),
        ("bad JSON", &["42[\"a\"", "42[\"a\"]x", "42[\"a\",]", "431[", "431{}"]),
        ("an event that is no array with a name", &["42{}", "42[]", "42abc[\"a\"]", "42-1[\"a\"]"]),
        ("a name that is no string or number", &["42[null]", "42[{}]", "42[[]]", "42[true]"]),
        (
            "a reserved name",
            &[
                "42[\"connect\"]",
                "42[\"connect_error\"]",
                "42[\"disconnect\"]",
                "42[\"disconnecting\"]",
                "42[\"newListener\"]",
                "42[\"removeListener\"]",
            ],
        ),
        ("an unknown type", &["47", "4", "4x", "9", "", "é"]),
        ("a DISCONNECT with a payload", &["41{}"]),
        (
            "anything but CONNECT for a namespace not joined",
            &["42/none,[\"a\"]", "41/none,", "43/none,1[]"],
        ),
        ("a binary packet without a count", &["45[\"a\"]", "46[\"a\"]", "45-[\"a\"]"]),
        (
            "no attachment, or more than ten",
            &["450-[\"a\"]", "4511-[\"a\"]", "45999999999999999999999-[\"a\"]"],
        ),
        (
            "a placeholder for no attachment",
            &[
                "451-[\"a\",{\"_placeholder\":true,\"num\":1}]",
                "451-[\"a\",{\"_placeholder\":true}]",
                "451-[\"a\",{\"_placeholder\":true,\"num\":-1}]",
                "451-[7]",
            ],
        ),
        ("a client's ping", &["2", "2probe"]),
    ];
    for (row, packets) in rows {
        for packet in packets {
            assert_eq!(Peer::joined().send(packet), Err(Close::Protocol), "{row}: {packet:?}");
        }
    }
    assert_eq!(Peer::joined().connection.handle_binary(&[1]), Err(Close::Protocol), "stray binary");
    assert_eq!(Peer::new().send("42[\"a\"]"), Err(Close::Protocol), "an event before any CONNECT");
    assert_eq!(Peer::joined().send("1"), Err(Close::Client), "the client's goodbye");
}

/// And what does not.
#[test]
fn input_that_is_ignored() {
    let rows: [(&str, &[&str]); 3] = [
        ("an event whose name is a number", &["42[1]", "42[1.5,\"a\"]"]),
        ("an ACK of an unknown id", &["4399[\"x\"]", "43007[]"]),
        ("a stray packet of Engine.IO", &["3", "0", "5", "6"]),
    ];
    for (row, packets) in rows {
        for packet in packets {
            let mut peer = Peer::joined();
            assert_eq!(peer.send(packet), Ok(()), "{row}: {packet:?}");
            assert_eq!(peer.connection.poll_event(), None, "{row}: {packet:?}");
            peer.send("42[\"still here\"]").unwrap();
            assert_eq!(peer.event().name.as_deref(), Some("still here"), "{row}: {packet:?}");
        }
    }
}

#[test]
fn answers_belong_to_questions() {
    let mut peer = Peer::joined();
    peer.connection.ask("/", 7, "[\"who\"]", &[]);
    peer.connection.ask("/none", 8, "[\"who\"]", &[]);
    assert_eq!(peer.sent(), ["427[\"who\"]"]);
    peer.send("438[\"to nothing\"]").unwrap();
    peer.send("437[\"me\"]").unwrap();
    assert_eq!(peer.event().ack, Some(7));
    peer.send("437[\"again\"]").unwrap();
    peer.send("461-7[{\"_placeholder\":true,\"num\":0}]").unwrap();
    peer.connection.handle_binary(&[1]).unwrap();
    assert_eq!(peer.connection.poll_event(), None);
}

#[test]
fn questions_are_bounded_and_the_oldest_is_forgotten() {
    let mut peer = Peer::joined();
    for id in 0..=100 {
        peer.connection.ask("/", id, "[\"who\"]", &[]);
    }
    peer.send("430[]").unwrap();
    assert_eq!(peer.connection.poll_event(), None);
    peer.send("431[]").unwrap();
    assert_eq!(peer.event().ack, Some(1));
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

/// Engine.IO 3 and Socket.IO 4.
mod three {
    use super::*;

    fn peer() -> Peer {
        let mut peer = Peer::new();
        peer.connection =
            Connection::new(peer.connection.limits.clone(), Revision::Three, peer.now);
        peer
    }

    fn joined() -> Peer {
        let mut peer = peer();
        assert!(peer.connection.poll_event().is_some());
        peer.connection.accept("/", &Sid::new([1; 15]), Some("pid"));
        assert_eq!(peer.sent(), ["40"]);
        peer
    }

    #[test]
    fn root_namespace_is_asked_for_by_being_there() {
        let mut peer = peer();
        let expected = Event::Connect { namespace: "/".into(), auth: None };
        assert_eq!(peer.connection.poll_event(), Some(expected));
        peer.connection.accept("/", &Sid::new([1; 15]), None);
        assert_eq!(peer.sent(), ["40"]);
        assert_eq!(peer.send("40"), Err(Close::Protocol));
    }

    #[test]
    fn refusal_is_the_bare_data_or_message() {
        let mut one = peer();
        one.connection.refuse("/", "unauthorized", None);
        assert_eq!(one.sent(), ["44\"unauthorized\""]);
        let mut other = peer();
        other.connection.refuse("/", "unauthorized", Some("{\"reason\":\"no_user\"}"));
        assert_eq!(other.sent(), ["44{\"reason\":\"no_user\"}"]);
    }

    #[test]
    fn namespace_query_becomes_auth() {
        let mut peer = joined();
        peer.send("40/adm?token=a%20b&x=\"1\",").unwrap();
        let auth = Some("{\"token\":\"a b\",\"x\":\"\\\"1\\\"\"}".into());
        let expected = Event::Connect { namespace: "/adm".into(), auth };
        assert_eq!(peer.connection.poll_event(), Some(expected));
        peer.connection.accept("/adm", &Sid::new([1; 15]), None);
        assert_eq!(peer.sent(), ["40/adm,"]);
        assert_eq!(peer.send("40/adm?again=1,"), Err(Close::Protocol));
    }

    #[test]
    fn client_pings_and_ends_without() {
        let mut peer = joined();
        assert_eq!(peer.at(44), Ok(()));
        assert_eq!(peer.send("2probe"), Ok(()));
        assert_eq!(peer.sent(), ["3probe"]);
        assert_eq!(peer.at(88), Ok(()));
        assert_eq!(peer.sent(), Vec::<String>::new(), "the server never pings");
        peer.send("2a").unwrap();
        peer.send("2b").unwrap();
        assert_eq!(peer.sent(), ["3b"], "the newest is answered");
        assert_eq!(peer.at(132), Ok(()));
        assert_eq!(peer.at(133), Err(Close::PingTimeout));
    }

    #[test]
    fn binary_packets_carry_their_type() {
        let mut peer = joined();
        peer.send("451-[\"a\",{\"_placeholder\":true,\"num\":0}]").unwrap();
        peer.connection.handle_binary(&[4, 1, 2]).unwrap();
        assert_eq!(peer.event().attachments, [&[1, 2][..]]);
        let payload = "[\"b\",{\"_placeholder\":true,\"num\":0}]";
        peer.connection.emit("/", payload, &[Bytes::from_static(&[7])]);
        assert!(peer.connection.poll_transmit().is_some());
        assert_eq!(peer.connection.poll_transmit().unwrap().body(), [4, 7]);
        peer.send("451-[\"a\",{\"_placeholder\":true,\"num\":0}]").unwrap();
        assert_eq!(peer.connection.handle_binary(&[1, 2]), Err(Close::Protocol));
    }
}

#[test]
fn without_socket_io_messages_pass_as_they_are() {
    let mut peer = Peer::new();
    peer.connection =
        Connection::engine_only(peer.connection.limits.clone(), Revision::Four, peer.now);
    peer.send("4hello").unwrap();
    peer.connection.handle_binary(&[1]).unwrap();
    for expected in [Data::Text("hello".into()), Data::Binary(Bytes::from_static(&[1]))] {
        assert_eq!(peer.connection.poll_event(), Some(Event::Data(expected.clone())));
        peer.connection.message(&expected);
    }
    assert_eq!(peer.sent(), ["4hello", "\u{1}"]);
    peer.at(25).unwrap();
    peer.send("3").unwrap();
    assert_eq!(peer.at(46), Ok(()), "nobody joins a namespace here");
}

#[test]
fn who_may_come_back_is_told_by_what() {
    let mut peer = Peer::new();
    peer.send("40").unwrap();
    peer.connection.accept("/", &Sid::new([1; 15]), Some("a\"b"));
    assert_eq!(peer.sent(), ["40{\"sid\":\"AQEBAQEBAQEBAQEBAQEB\",\"pid\":\"a\\\"b\"}"]);
}
