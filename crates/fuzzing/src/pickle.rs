//! The pickle reader.

use std::collections::HashSet;

use identity::pickles::{Node, NodeId, Pickle, read};

/// Any bytes are an arena no larger than they can pay for, or a refusal; twice the same.
pub fn pickle(data: &[u8]) {
    let outcome = read(data);
    assert_eq!(outcome.as_ref().map(|_| ()), read(data).as_ref().map(|_| ()));
    if let Ok(pickle) = outcome {
        let (nodes, bytes) = reach(&pickle);
        assert!(nodes <= data.len() + 1, "{nodes} nodes of {} bytes", data.len());
        // A character of a pickle may become three bytes of text; what is memoised is there once.
        assert!(bytes <= data.len() * 4, "{bytes} bytes of {}", data.len());
    }
}

/// How many nodes the root leads to, and the bytes in them.
fn reach(pickle: &Pickle) -> (usize, usize) {
    let mut seen: HashSet<NodeId> = HashSet::new();
    let mut next = vec![pickle.root()];
    let mut bytes = 0;
    while let Some(id) = next.pop() {
        if !seen.insert(id) {
            continue;
        }
        match pickle.node(id) {
            Node::Text(text) => bytes += text.len(),
            Node::Bytes(data) => bytes += data.len(),
            Node::List(items)
            | Node::Tuple(items, _)
            | Node::Set(items)
            | Node::FrozenSet(items) => {
                next.extend(items);
            }
            Node::Dict(pairs) => next.extend(pairs.iter().flat_map(|(key, value)| [key, value])),
            _ => {}
        }
    }
    (seen.len(), bytes)
}
