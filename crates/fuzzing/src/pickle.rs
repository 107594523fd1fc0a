//! The pickle reader: little input builds little, and what was read can be written and read again.

use std::collections::HashSet;

use identity::pickles::{Node, NodeId, Pickle, read};

/// Any program for Python's stack machine.
pub fn pickle(data: &[u8]) {
    let Ok(pickle) = read(data) else { return };
    check_size(&pickle, data.len());
    assert!(read(&[data, b"."].concat()).is_err(), "it ends where its input does");
    for end in [data.len() - 1, data.len() / 2] {
        assert!(read(data.split_at(end).0).is_err(), "a part of it is none: {end}");
    }
    if let Some(written) = Writer::write(&pickle) {
        let again = read(&written).expect("what was read can be read again");
        let mut budget = BUDGET;
        assert!(same(&pickle, pickle.root(), &again, again.root(), &mut budget), "{written:?}");
    }
}

/// Each instruction adds at most one reference; text at most doubles, as Latin-1 becomes UTF-8.
fn check_size(pickle: &Pickle, input: usize) {
    let mut seen = HashSet::new();
    let mut open = vec![pickle.root()];
    let mut references = 1;
    let mut bytes = 0;
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        match pickle.node(id) {
            Node::Text(text) => bytes += text.len(),
            Node::Bytes(data) => bytes += data.len(),
            _ => {}
        }
        let children = children(pickle.node(id));
        references += children.len();
        open.extend(children);
    }
    assert!(references <= input && bytes <= 2 * input, "{references}, {bytes} of {input}");
    assert!(seen.len() <= 100_000);
}

fn children(node: &Node) -> Vec<NodeId> {
    match node {
        Node::List(items) | Node::Tuple(items, _) | Node::Set(items) | Node::FrozenSet(items) => {
            items.clone()
        }
        Node::Dict(pairs) => pairs.iter().flat_map(|(key, value)| [*key, *value]).collect(),
        _ => Vec::new(),
    }
}

/// Nodes that are written or compared; what is shared counts each time.
const BUDGET: usize = 2_000;

/// Of nesting; a pickle may nest as deep as it is long, and refer to itself.
const DEPTH: usize = 100;

struct Writer<'a> {
    pickle: &'a Pickle,
    out: Vec<u8>,
    budget: usize,
}

impl<'a> Writer<'a> {
    /// Nothing of what is too much to write without sharing.
    fn write(pickle: &'a Pickle) -> Option<Vec<u8>> {
        let mut writer = Self { pickle, out: vec![0x80, 4], budget: BUDGET };
        writer.node(pickle.root(), DEPTH)?;
        writer.out.push(b'.');
        Some(writer.out)
    }

    fn node(&mut self, id: NodeId, depth: usize) -> Option<()> {
        self.budget = self.budget.checked_sub(1)?;
        let node = self.pickle.node(id);
        match node {
            Node::None => self.out.push(b'N'),
            Node::Boolean(value) => self.out.push(if *value { 0x88 } else { 0x89 }),
            Node::Integer(value) => self.long(&value.to_le_bytes()),
            Node::BigInteger => self.long(&[1; 17]),
            Node::Float(value) => {
                self.out.push(b'G');
                self.out.extend_from_slice(&value.to_be_bytes());
            }
            Node::Text(text) => self.string(0x8d, text.as_bytes()),
            Node::Bytes(bytes) => self.string(0x8e, bytes),
            Node::ByteArray => self.string(0x96, b""),
            Node::List(_) => self.items(b"](", id, b"e", depth)?,
            Node::Tuple(..) => self.items(b"(", id, b"t", depth)?,
            Node::Dict(_) => self.items(b"}(", id, b"u", depth)?,
            Node::Set(_) => self.items(b"\x8f(", id, b"\x90", depth)?,
            Node::FrozenSet(_) => self.items(b"(", id, b"\x91", depth)?,
            Node::Opaque => self.out.extend_from_slice(b"cm\nC\n"),
        }
        Some(())
    }

    fn items(&mut self, open: &[u8], id: NodeId, close: &[u8], depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        self.out.extend_from_slice(open);
        for item in children(self.pickle.node(id)) {
            self.node(item, depth)?;
        }
        self.out.extend_from_slice(close);
        Some(())
    }

    fn long(&mut self, bytes: &[u8]) {
        self.out.push(0x8a);
        self.out.push(u8::try_from(bytes.len()).unwrap());
        self.out.extend_from_slice(bytes);
    }

    fn string(&mut self, opcode: u8, bytes: &[u8]) {
        self.out.push(opcode);
        self.out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        self.out.extend_from_slice(bytes);
    }
}

fn same(a: &Pickle, x: NodeId, b: &Pickle, y: NodeId, budget: &mut usize) -> bool {
    *budget -= 1;
    let kinds = match (a.node(x), b.node(y)) {
        (Node::Float(a), Node::Float(b)) => a.to_bits() == b.to_bits(),
        (Node::Tuple(_, a), Node::Tuple(_, b)) => a == b,
        (Node::List(_), Node::List(_))
        | (Node::Dict(_), Node::Dict(_))
        | (Node::Set(_), Node::Set(_))
        | (Node::FrozenSet(_), Node::FrozenSet(_)) => true,
        (a, b) => a == b,
    };
    let (left, right) = (children(a.node(x)), children(b.node(y)));
    kinds
        && left.len() == right.len()
        && left.into_iter().zip(right).all(|(x, y)| same(a, x, b, y, budget))
}
