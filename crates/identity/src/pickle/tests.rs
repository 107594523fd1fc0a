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
