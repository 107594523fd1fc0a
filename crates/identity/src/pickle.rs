//! Python's pickles, protocols 0 to 5, read as plain data: nothing is imported, nothing is called.
//!
//! A pickle is a program for a small stack machine, and that makes it dangerous twice: it can call
//! anything, and it can build much out of little. Here an object of any class is [`Node::Opaque`], and
//! all nodes lie in one flat arena and refer to each other by number: so nesting costs no stack, and
//! what is shared, doubled or recursive costs one number each time.

mod input;
mod machine;
mod opcode;
mod text;

use crate::Reason;
pub use machine::read;

/// A pickled object and all that it refers to.
#[derive(Clone, Debug)]
pub struct Pickle {
    nodes: Vec<Node>,
    root: NodeId,
}

/// A node of a pickle, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NodeId(u32);

/// An object.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// `None`
    None,
    /// `True`, `False`
    Boolean(bool),
    /// An `int` within 128 bits.
    Integer(i128),
    /// An `int` beyond; nobody's id.
    BigInteger,
    /// A `float`.
    Float(f64),
    /// A `str`, or Python 2's `unicode`.
    Text(String),
    /// A `bytes`, or Python 2's `str`.
    Bytes(Vec<u8>),
    /// A `bytearray`.
    ByteArray,
    /// A `list`.
    List(Vec<NodeId>),
    /// A `tuple`, and whether it can be a key.
    Tuple(Vec<NodeId>, bool),
    /// A `dict`, in the order of insertion; a later pair with the same key counts.
    Dict(Vec<(NodeId, NodeId)>),
    /// A `set`.
    Set(Vec<NodeId>),
    /// A `frozenset`, as protocol 4 and later write it; it can be a key.
    FrozenSet(Vec<NodeId>),
    /// A class, a function, or an object of any class: its content is of no interest.
    Opaque,
}

/// Nodes of a value that is being read, whatever it is read from.
#[derive(Default)]
pub(crate) struct Arena {
    nodes: Vec<Node>,
}

/// Objects of one value.
const NODES: usize = 100_000;

impl Arena {
    pub(crate) fn push(&mut self, node: Node) -> Result<NodeId, Reason> {
        if self.nodes.len() >= NODES {
            return Err(Reason::TooLarge);
        }
        let id = u32::try_from(self.nodes.len()).map_err(|_| Reason::TooLarge)?;
        self.nodes.push(node);
        Ok(NodeId(id))
    }

    pub(crate) fn rooted(self, root: NodeId) -> Pickle {
        Pickle { nodes: self.nodes, root }
    }
}

impl Pickle {
    /// The object that was pickled.
    pub fn root(&self) -> NodeId {
        self.root
    }

    /// A node of this pickle; of another one's, [`Node::None`].
    pub fn node(&self, id: NodeId) -> &Node {
        let at = usize::try_from(id.0).unwrap_or(usize::MAX);
        self.nodes.get(at).unwrap_or(&Node::None)
    }
}

#[cfg(test)]
mod tests;
