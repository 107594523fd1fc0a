//! The stack machine. Every instruction consumes input and adds at most one node, one stack entry or
//! one reference for each stack entry it takes: so the whole is bounded by the input, and by [`NODES`].

use std::collections::HashMap;

use super::input::Input;
use super::opcode::*;
use super::{Arena, NODES, Node, NodeId, Pickle, Reason};

/// Reads a pickle. It must end where the input does.
///
/// # Errors
/// It is broken, is too large, or wants what plain data does not: persistent ids, extensions, buffers.
pub fn read(input: &[u8]) -> Result<Pickle, Reason> {
    let mut machine = Machine { input: Input::new(input), ..Machine::default() };
    let root = loop {
        match machine.input.byte()? {
            STOP => break machine.pop()?,
            opcode => machine.step(opcode)?,
        }
    };
    if !machine.input.is_empty() {
        return Err(Reason::Corrupt);
    }
    Ok(machine.arena.rooted(root))
}

#[derive(Default)]
struct Machine<'a> {
    input: Input<'a>,
    arena: Arena,
    stack: Vec<NodeId>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<usize, NodeId>,
}

impl Machine<'_> {
    fn step(&mut self, opcode: u8) -> Result<(), Reason> {
        match opcode {
            PROTO => match self.input.byte()? {
                0..=5 => Ok(()),
                _ => Err(Reason::Corrupt),
            },
            FRAME => self.input.frame(),
            MARK => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            POP => self.pop_any(),
            POP_MARK => self.pop_mark().map(drop),
            DUP => {
                let top = self.top()?;
                self.stack.push(top);
                Ok(())
            }
            NONE => self.push(Node::None),
            NEWTRUE => self.push(Node::Boolean(true)),
            NEWFALSE => self.push(Node::Boolean(false)),
            INT | LONG | BININT | BININT1 | BININT2 | LONG1 | LONG4 | FLOAT | BINFLOAT => {
                let node = self.input.number(opcode)?;
                self.push(node)
            }
            STRING | BINSTRING | SHORT_BINSTRING | BINBYTES | SHORT_BINBYTES | BINBYTES8
            | BYTEARRAY8 | UNICODE | BINUNICODE | SHORT_BINUNICODE | BINUNICODE8 => {
                let node = self.input.string(opcode)?;
                self.push(node)
            }
            EMPTY_LIST => self.push(Node::List(Vec::new())),
            EMPTY_TUPLE => self.push(Node::Tuple(Vec::new(), true)),
            EMPTY_DICT => self.push(Node::Dict(Vec::new())),
            EMPTY_SET => self.push(Node::Set(Vec::new())),
            LIST => {
                let items = self.pop_mark()?;
                self.push(Node::List(items))
            }
            TUPLE => {
                let items = self.pop_mark()?;
                self.push_tuple(items)
            }
            TUPLE1 => self.tuple(1),
            TUPLE2 => self.tuple(2),
            TUPLE3 => self.tuple(3),
            DICT => {
                let items = self.pop_mark()?;
                let pairs = self.pairs(&items)?;
                self.push(Node::Dict(pairs))
            }
            FROZENSET => {
                let items = self.pop_mark()?;
                self.hashable(&items)?;
                self.push(Node::FrozenSet(items))
            }
            APPEND => {
                let item = self.pop()?;
                self.extend_list(vec![item])
            }
            APPENDS => {
                let items = self.pop_mark()?;
                self.extend_list(items)
            }
            SETITEM => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.extend_dict(&[key, value])
            }
            SETITEMS => {
                let items = self.pop_mark()?;
                self.extend_dict(&items)
            }
            ADDITEMS => {
                let items = self.pop_mark()?;
                self.extend_set(items)
            }
            GET | BINGET | LONG_BINGET => {
                let index = self.input.index(opcode)?;
                let id = *self.memo.get(&index).ok_or(Reason::Corrupt)?;
                self.stack.push(id);
                Ok(())
            }
            PUT | BINPUT | LONG_BINPUT => {
                let index = self.input.index(opcode)?;
                self.memoize(index)
            }
            MEMOIZE => self.memoize(self.memo.len()),
            GLOBAL | INST | STACK_GLOBAL | REDUCE | NEWOBJ | NEWOBJ_EX | OBJ | BUILD => {
                self.object(opcode)
            }
            // Persistent ids, extensions and buffers refer to what is not in the pickle.
            PERSID | BINPERSID => Err(Reason::Corrupt),
            _ => Err(Reason::Corrupt),
        }
    }

    /// Classes and their objects: what they take is taken, and what they make is opaque.
    fn object(&mut self, opcode: u8) -> Result<(), Reason> {
        match opcode {
            GLOBAL => self.input.class(opcode)?,
            INST => {
                self.input.class(opcode)?;
                self.pop_mark()?;
            }
            OBJ => {
                let items = self.pop_mark()?;
                self.opaque(*items.first().ok_or(Reason::Corrupt)?)?;
            }
            STACK_GLOBAL => {
                for _ in 0..2 {
                    let name = self.pop()?;
                    if !matches!(self.node(name)?, Node::Text(_)) {
                        return Err(Reason::Corrupt);
                    }
                }
            }
            NEWOBJ_EX => {
                let named = self.pop()?;
                if !matches!(self.node(named)?, Node::Dict(_) | Node::Opaque) {
                    return Err(Reason::Corrupt);
                }
                self.call()?;
            }
            BUILD => {
                self.pop()?;
                let object = self.top()?;
                return self.opaque(object);
            }
            _ => self.call()?,
        }
        self.push(Node::Opaque)
    }

    /// A class and its arguments are taken; they may be a tuple of some class.
    fn call(&mut self) -> Result<(), Reason> {
        let arguments = self.pop()?;
        if !matches!(self.node(arguments)?, Node::Tuple(..) | Node::Opaque) {
            return Err(Reason::Corrupt);
        }
        let class = self.pop()?;
        self.opaque(class)
    }

    fn tuple(&mut self, length: usize) -> Result<(), Reason> {
        let mut items = Vec::with_capacity(length);
        for _ in 0..length {
            items.push(self.pop()?);
        }
        items.reverse();
        self.push_tuple(items)
    }

    fn push_tuple(&mut self, items: Vec<NodeId>) -> Result<(), Reason> {
        let hashable = self.hashable(&items).is_ok();
        self.push(Node::Tuple(items, hashable))
    }

    fn extend_list(&mut self, items: Vec<NodeId>) -> Result<(), Reason> {
        match self.top_node()? {
            Node::List(list) => list.extend(items),
            Node::Opaque => {}
            _ => return Err(Reason::Corrupt),
        }
        Ok(())
    }

    fn extend_dict(&mut self, items: &[NodeId]) -> Result<(), Reason> {
        let pairs = self.pairs(items)?;
        match self.top_node()? {
            Node::Dict(dict) => dict.extend(pairs),
            Node::Opaque => {}
            _ => return Err(Reason::Corrupt),
        }
        Ok(())
    }

    fn extend_set(&mut self, items: Vec<NodeId>) -> Result<(), Reason> {
        self.hashable(&items)?;
        match self.top_node()? {
            Node::Set(set) => set.extend(items),
            Node::Opaque => {}
            _ => return Err(Reason::Corrupt),
        }
        Ok(())
    }

    fn pairs(&self, items: &[NodeId]) -> Result<Vec<(NodeId, NodeId)>, Reason> {
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(Reason::Corrupt);
        }
        pairs.iter().map(|[key, value]| self.hashable(&[*key]).map(|()| (*key, *value))).collect()
    }

    /// Python refuses others as keys.
    fn hashable(&self, items: &[NodeId]) -> Result<(), Reason> {
        for item in items {
            match self.node(*item)? {
                Node::List(_)
                | Node::Dict(_)
                | Node::Set(_)
                | Node::ByteArray
                | Node::Tuple(_, false) => {
                    return Err(Reason::Corrupt);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn opaque(&self, id: NodeId) -> Result<(), Reason> {
        if matches!(self.node(id)?, Node::Opaque) { Ok(()) } else { Err(Reason::Corrupt) }
    }

    /// They are numbered from 0, so there is none beyond the objects.
    fn memoize(&mut self, index: usize) -> Result<(), Reason> {
        if index > NODES {
            return Err(Reason::TooLarge);
        }
        let top = self.top()?;
        self.memo.insert(index, top);
        Ok(())
    }

    fn push(&mut self, node: Node) -> Result<(), Reason> {
        let id = self.arena.push(node)?;
        self.stack.push(id);
        Ok(())
    }

    /// The top of the stack, above the last mark.
    fn pop(&mut self) -> Result<NodeId, Reason> {
        let floor = self.marks.last().copied().unwrap_or_default();
        if self.stack.len() <= floor {
            return Err(Reason::Corrupt);
        }
        self.stack.pop().ok_or(Reason::Corrupt)
    }

    /// `POP` takes a mark, too.
    fn pop_any(&mut self) -> Result<(), Reason> {
        if self.marks.last() == Some(&self.stack.len()) {
            self.marks.pop();
            return Ok(());
        }
        self.pop().map(drop)
    }

    /// All above the last mark, and the mark.
    fn pop_mark(&mut self) -> Result<Vec<NodeId>, Reason> {
        let floor = self.marks.pop().ok_or(Reason::Corrupt)?;
        if floor > self.stack.len() {
            return Err(Reason::Corrupt);
        }
        Ok(self.stack.split_off(floor))
    }

    fn top(&self) -> Result<NodeId, Reason> {
        let floor = self.marks.last().copied().unwrap_or_default();
        if self.stack.len() <= floor {
            return Err(Reason::Corrupt);
        }
        self.stack.last().copied().ok_or(Reason::Corrupt)
    }

    fn top_node(&mut self) -> Result<&mut Node, Reason> {
        let NodeId(at) = self.top()?;
        let at = usize::try_from(at).map_err(|_| Reason::Corrupt)?;
        self.arena.nodes.get_mut(at).ok_or(Reason::Corrupt)
    }

    fn node(&self, NodeId(at): NodeId) -> Result<&Node, Reason> {
        let at = usize::try_from(at).map_err(|_| Reason::Corrupt)?;
        self.arena.nodes.get(at).ok_or(Reason::Corrupt)
    }
}
