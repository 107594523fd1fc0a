//! The reader against hostile programs, and beside serde-pickle.

use proptest::prelude::*;
use serde_pickle::{DeOptions, HashableValue, Value};

use super::*;

#[test]
fn little_input_builds_little() {
    let repeat = |unit: &[u8], n: usize| unit.repeat(n);
    let bombs: [(&str, Vec<u8>); 5] = [
        ("nested tuples", [b"N".to_vec(), repeat(b"\x85", 90_000), b".".to_vec()].concat()),
        ("doubling", [b"]".to_vec(), repeat(b"2a", 50_000), b".".to_vec()].concat()),
        ("marks", [repeat(b"(", 200_000), b"N.".to_vec()].concat()),
        ("memo", [b"N".to_vec(), repeat(b"\x94", 200_000), b".".to_vec()].concat()),
        ("dicts in dicts", [b"}".to_vec(), repeat(b"U\x01a}s", 50_000), b".".to_vec()].concat()),
    ];
    for (name, bomb) in bombs {
        // Whether it is refused matters less than that it returns.
        let _ = std::hint::black_box(read(&bomb));
        assert!(bomb.len() > 50_000, "{name}");
    }
    let many = [b"]".to_vec(), repeat(b"NN00", 60_000), b".".to_vec()].concat();
    assert_eq!(read(&many).err(), Some(Reason::TooLarge));
}

#[test]
fn nothing_outside_the_pickle_is_reachable() {
    let cases: [&[u8]; 9] = [
        b"Pid\n.",
        b"NQ.",
        b"\x82\x01.",
        b"\x83\x01\x00.",
        b"\x84\x01\x00\x00\x00.",
        b"\x97.",
        b"\x80\x06N.",
        b"N.N",
        b"",
    ];
    for pickle in cases {
        assert_eq!(read(pickle).err(), Some(Reason::Corrupt), "{pickle:?}");
    }
    let called =
        read(b"cos\nsystem\n(S'echo hi'\ntR.").map(|pickle| pickle.node(pickle.root()).clone());
    assert_eq!(called, Ok(Node::Opaque));
}

#[test]
fn what_cpython_refuses_is_refused() {
    let cases: [&[u8]; 22] = [
        // Octal to C, and nothing to Python; a boolean to C.
        b"I010\n.",
        b"L010L\n.",
        b"I-0\n.",
        b"I7L\n.",
        b"I 7\n.",
        b"F1 \n.",
        b"F1e999\n.",
        b"S'a' \n.",
        b"Np 1\n.",
        // More than the frame can hold.
        b"\x80\x04\x95\x03\x00\x00\x00\x00\x00\x00\x00N.",
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\xffN.",
        // Names that are none.
        b"c\nname\n.",
        b"cmodule\n\n.",
        b"cmodule\n\xff\n.",
        b"(imodule\n\xc3\xa9\n.",
        // Calls of what is no class, or with what are no arguments.
        b"N)R.",
        b"(\x91)R.",
        b"cm\nC\n(\x91R.",
        b"cm\nC\nNR.",
        b"cm\nC\n]\x81.",
        b"cm\nC\n)N\x92.",
        b"cm\nC\nN}\x92.",
    ];
    for pickle in cases {
        assert_eq!(read(pickle).err(), Some(Reason::Corrupt), "{}", pickle.escape_ascii());
    }
    assert_eq!(read(b"Nr\xff\xff\xff\xff.").err(), Some(Reason::TooLarge));
}

#[test]
fn numbers_are_read() {
    let cases: [(&[u8], Node); 12] = [
        (b"I00\n.", Node::Boolean(false)),
        (b"I01\n.", Node::Boolean(true)),
        (b"I0\n.", Node::Integer(0)),
        (b"L0L\n.", Node::Integer(0)),
        (b"L-7\n.", Node::Integer(-7)),
        (b"\x8a\x00.", Node::Integer(0)),
        (b"\x8a\x02\x00\x80.", Node::Integer(-32_768)),
        (b"\x8a\x12\x07\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0.", Node::Integer(7)),
        (b"\x8a\x11\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x80\0.", Node::BigInteger),
        (
            b"\x8a\x11\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f\xff.",
            Node::BigInteger,
        ),
        (b"F-inf\n.", Node::Float(f64::NEG_INFINITY)),
        (b"F1e300\n.", Node::Float(1e300)),
    ];
    for (pickle, node) in cases {
        let read = read(pickle).map(|pickle| pickle.node(pickle.root()).clone());
        assert_eq!(read, Ok(node), "{}", pickle.escape_ascii());
    }
}

fn same(pickle: &Pickle, id: NodeId, value: &Value) -> bool {
    match (pickle.node(id), value) {
        (Node::None, Value::None) => true,
        (Node::Boolean(a), Value::Bool(b)) => a == b,
        (Node::Integer(a), Value::I64(b)) => *a == i128::from(*b),
        (Node::Float(a), Value::F64(b)) => a.to_bits() == b.to_bits(),
        (Node::Text(a), Value::String(b)) => a == b,
        (Node::Bytes(a), Value::Bytes(b)) => a == b,
        // Protocol 2 has no bytes: Python calls a function to make them, and functions are opaque here.
        (Node::Opaque, Value::Bytes(_)) => true,
        (Node::List(a), Value::List(b)) | (Node::Tuple(a, _), Value::Tuple(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(pickle, *a, b))
        }
        (Node::Dict(pairs), Value::Dict(map)) => {
            pairs.len() == map.len()
                && pairs.iter().all(|(key, value)| {
                    let Node::Text(key) = pickle.node(*key) else { return false };
                    map.get(&HashableValue::String(key.clone()))
                        .is_some_and(|other| same(pickle, *value, other))
                })
        }
        _ => false,
    }
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::None),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::I64),
        any::<f64>().prop_map(Value::F64),
        ".{0,20}".prop_map(Value::String),
        proptest::collection::vec(any::<u8>(), 0..20).prop_map(Value::Bytes),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::Tuple),
            proptest::collection::btree_map(".{0,8}".prop_map(HashableValue::String), inner, 0..6)
                .prop_map(Value::Dict),
        ]
    })
}

proptest! {
    #[test]
    fn agrees_with_serde_pickle_on_what_it_writes(value in values(), old in any::<bool>()) {
        let options = serde_pickle::SerOptions::new();
        let options = if old { options.proto_v2() } else { options };
        let bytes = serde_pickle::value_to_vec(&value, options).unwrap();
        let pickle = read(&bytes).unwrap();
        let expected = serde_pickle::value_from_slice(&bytes, DeOptions::new()).unwrap();
        prop_assert!(same(&pickle, pickle.root(), &expected), "{expected:?}");
    }

    #[test]
    fn any_bytes_return(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = std::hint::black_box(read(&bytes));
    }

    #[test]
    fn any_program_returns(
        bytes in proptest::collection::vec(
            proptest::sample::select(b"(.012NK)]}\x85\x86\x87\x88\x8f\x90\x91\x94adelstuopqrghjRbicQ".to_vec()), 0..200)
    ) {
        let _ = std::hint::black_box(read(&bytes));
    }
}
