//! The stack machine. Every instruction consumes input and adds at most one node, one stack entry or
//! one reference for each stack entry it takes: so the whole is bounded by the input, and by [`NODES`].

use std::collections::HashMap;

use super::opcode::*;
use super::text::{raw_unicode_escape, repr};
use super::{Node, NodeId, Pickle, Reason};

/// Objects of one pickle.
const NODES: usize = 100_000;

/// Digits of one number; reading a decimal takes time that grows with their square.
const DIGITS: usize = 4_300;

/// Reads a pickle. It must end where the input does.
///
/// # Errors
/// It is broken, is too large, or wants what plain data does not: persistent ids, extensions, buffers.
pub fn read(input: &[u8]) -> Result<Pickle, Reason> {
    let mut machine = Machine { input, ..Machine::default() };
    let root = loop {
        match machine.byte()? {
            STOP => break machine.pop()?,
            opcode => machine.step(opcode)?,
        }
    };
    if !machine.input.is_empty() {
        return Err(Reason::Corrupt);
    }
    Ok(Pickle { nodes: machine.nodes, root })
}

#[derive(Default)]
struct Machine<'a> {
    input: &'a [u8],
    nodes: Vec<Node>,
    stack: Vec<NodeId>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u64, NodeId>,
}

impl<'a> Machine<'a> {
    fn step(&mut self, opcode: u8) -> Result<(), Reason> {
        match opcode {
            PROTO => match self.byte()? {
                0..=5 => Ok(()),
                _ => Err(Reason::Corrupt),
            },
            FRAME => self.take(8).map(drop),
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
                let node = self.number(opcode)?;
                self.push(node)
            }
            STRING | BINSTRING | SHORT_BINSTRING | BINBYTES | SHORT_BINBYTES | BINBYTES8
            | BYTEARRAY8 | UNICODE | BINUNICODE | SHORT_BINUNICODE | BINUNICODE8 => {
                let node = self.string(opcode)?;
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
                self.push(Node::Opaque)
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
                let index = self.index(opcode)?;
                let id = *self.memo.get(&index).ok_or(Reason::Corrupt)?;
                self.stack.push(id);
                Ok(())
            }
            PUT | BINPUT | LONG_BINPUT => {
                let index = self.index(opcode)?;
                let top = self.top()?;
                self.memo.insert(index, top);
                Ok(())
            }
            MEMOIZE => {
                let top = self.top()?;
                self.memo.insert(self.memo.len() as u64, top);
                Ok(())
            }
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
            GLOBAL => {
                self.line()?;
                self.line()?;
            }
            INST => {
                self.line()?;
                self.line()?;
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
                self.pop()?;
                self.pop()?;
                let class = self.pop()?;
                self.opaque(class)?;
            }
            BUILD => {
                self.pop()?;
                let object = self.top()?;
                return self.opaque(object);
            }
            _ => {
                let arguments = self.pop()?;
                if !matches!(self.node(arguments)?, Node::Tuple(..) | Node::Opaque) {
                    return Err(Reason::Corrupt);
                }
                let class = self.pop()?;
                self.opaque(class)?;
            }
        }
        self.push(Node::Opaque)
    }

    fn number(&mut self, opcode: u8) -> Result<Node, Reason> {
        Ok(match opcode {
            BININT => Node::Integer(i32::from_le_bytes(self.array()?).into()),
            BININT1 => Node::Integer(self.byte()?.into()),
            BININT2 => Node::Integer(u16::from_le_bytes(self.array()?).into()),
            LONG1 => {
                let length = self.byte()?;
                little_endian(self.take(length.into())?)
            }
            LONG4 => {
                let length = i32::from_le_bytes(self.array()?);
                let length = usize::try_from(length).map_err(|_| Reason::Corrupt)?;
                little_endian(self.take(length)?)
            }
            BINFLOAT => Node::Float(f64::from_be_bytes(self.array()?)),
            FLOAT => Node::Float(parse(self.line()?)?),
            // Protocol 0 writes booleans as these numbers.
            _ => match self.line()? {
                b"00" if opcode == INT => Node::Boolean(false),
                b"01" if opcode == INT => Node::Boolean(true),
                line => decimal(line.strip_suffix(b"L").unwrap_or(line))?,
            },
        })
    }

    fn string(&mut self, opcode: u8) -> Result<Node, Reason> {
        let length = match opcode {
            STRING => return repr(self.line()?).map(Node::Bytes),
            UNICODE => return raw_unicode_escape(self.line()?).map(Node::Text),
            SHORT_BINSTRING | SHORT_BINBYTES | SHORT_BINUNICODE => u64::from(self.byte()?),
            BINSTRING | BINBYTES | BINUNICODE => u64::from(u32::from_le_bytes(self.array()?)),
            _ => u64::from_le_bytes(self.array()?),
        };
        let bytes = self.take(usize::try_from(length).map_err(|_| Reason::Corrupt)?)?;
        Ok(match opcode {
            BINUNICODE | SHORT_BINUNICODE | BINUNICODE8 => {
                let text = std::str::from_utf8(bytes).map_err(|_| Reason::Corrupt)?;
                Node::Text(text.to_owned())
            }
            BYTEARRAY8 => Node::ByteArray,
            _ => Node::Bytes(bytes.to_vec()),
        })
    }

    fn index(&mut self, opcode: u8) -> Result<u64, Reason> {
        match opcode {
            BINGET | BINPUT => Ok(self.byte()?.into()),
            LONG_BINGET | LONG_BINPUT => Ok(u32::from_le_bytes(self.array()?).into()),
            _ => parse(self.line()?),
        }
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

    fn push(&mut self, node: Node) -> Result<(), Reason> {
        if self.nodes.len() >= NODES {
            return Err(Reason::TooLarge);
        }
        let id = u32::try_from(self.nodes.len()).map_err(|_| Reason::TooLarge)?;
        self.nodes.push(node);
        self.stack.push(NodeId(id));
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
        self.nodes.get_mut(at).ok_or(Reason::Corrupt)
    }

    fn node(&self, NodeId(at): NodeId) -> Result<&Node, Reason> {
        let at = usize::try_from(at).map_err(|_| Reason::Corrupt)?;
        self.nodes.get(at).ok_or(Reason::Corrupt)
    }

    fn byte(&mut self) -> Result<u8, Reason> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Reason> {
        let (array, rest) = self.input.split_first_chunk::<N>().ok_or(Reason::Corrupt)?;
        self.input = rest;
        Ok(*array)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Reason> {
        let (bytes, rest) = self.input.split_at_checked(length).ok_or(Reason::Corrupt)?;
        self.input = rest;
        Ok(bytes)
    }

    fn line(&mut self) -> Result<&'a [u8], Reason> {
        let end = self.input.iter().position(|byte| *byte == b'\n').ok_or(Reason::Corrupt)?;
        let line = self.take(end)?;
        self.byte()?;
        Ok(line)
    }
}

fn parse<T: std::str::FromStr>(line: &[u8]) -> Result<T, Reason> {
    let text = std::str::from_utf8(line.trim_ascii()).map_err(|_| Reason::Corrupt)?;
    text.parse().map_err(|_| Reason::Corrupt)
}

fn decimal(line: &[u8]) -> Result<Node, Reason> {
    if line.len() > DIGITS {
        return Err(Reason::TooLarge);
    }
    let digits = line.strip_prefix(b"-").unwrap_or(line);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Reason::Corrupt);
    }
    Ok(parse(line).map_or(Node::BigInteger, Node::Integer))
}

/// Two's complement, of any length.
fn little_endian(bytes: &[u8]) -> Node {
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    if bytes.len() > 16 {
        return Node::BigInteger;
    }
    let mut whole = if negative { [0xff; 16] } else { [0; 16] };
    for (to, from) in whole.iter_mut().zip(bytes) {
        *to = *from;
    }
    Node::Integer(i128::from_le_bytes(whole))
}
