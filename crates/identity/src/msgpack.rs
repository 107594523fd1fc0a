//! MessagePack, read into the same flat arena as a pickle: nesting costs no stack, and what a length
//! claims is reserved for nobody.

use crate::Reason;
use crate::pickle::{Arena, Node, NodeId, Pickle};

/// As deep as JSON may be.
const DEPTH: usize = 127;

/// A value, and nothing behind it.
///
/// # Errors
/// It is none, or beyond the bounds.
pub(crate) fn read(input: &[u8]) -> Result<Pickle, Reason> {
    let mut input = Input(input);
    let mut arena = Arena::default();
    // Containers that are still being read, the innermost last.
    let mut open: Vec<Open> = Vec::new();
    loop {
        let mut done = match value(&mut input)? {
            Item::Scalar(node) => arena.push(node)?,
            Item::Container(container) if open.len() == DEPTH => {
                let _ = container;
                return Err(Reason::TooDeep);
            }
            Item::Container(container) if container.left == 0 => arena.push(container.node())?,
            Item::Container(container) => {
                open.push(container);
                continue;
            }
        };
        // What is done may complete what it is in.
        loop {
            let Some(container) = open.last_mut() else {
                return if input.0.is_empty() {
                    Ok(arena.rooted(done))
                } else {
                    Err(Reason::Corrupt)
                };
            };
            container.items.push(done);
            container.left -= 1;
            if container.left > 0 {
                break;
            }
            let Some(container) = open.pop() else { break };
            done = arena.push(container.node())?;
        }
    }
}

enum Item {
    Scalar(Node),
    Container(Open),
}

struct Open {
    map: bool,
    /// Items that are still to come; a pair is two.
    left: u64,
    items: Vec<NodeId>,
}

impl Open {
    fn node(self) -> Node {
        if !self.map {
            return Node::List(self.items);
        }
        let mut items = self.items.into_iter();
        let mut pairs = Vec::new();
        while let (Some(key), Some(value)) = (items.next(), items.next()) {
            pairs.push((key, value));
        }
        Node::Dict(pairs)
    }
}

fn value(input: &mut Input<'_>) -> Result<Item, Reason> {
    let tag = input.array::<1>()?[0];
    let container = |map: bool, length: u64| {
        let left = if map { 2 * length } else { length };
        Ok(Item::Container(Open { map, left, items: Vec::new() }))
    };
    let node = match tag {
        0x00..=0x7f => Node::Integer(tag.into()),
        0x80..=0x8f => return container(true, (tag & 0x0f).into()),
        0x90..=0x9f => return container(false, (tag & 0x0f).into()),
        0xa0..=0xbf => text(input.take((tag & 0x1f).into())?)?,
        0xc0 => Node::None,
        0xc1 => return Err(Reason::Corrupt),
        0xc2 | 0xc3 => Node::Boolean(tag == 0xc3),
        0xc4..=0xc6 => {
            let length = input.length(tag - 0xc4)?;
            Node::Bytes(input.take(length)?.to_vec())
        }
        0xc7..=0xc9 => {
            let length = input.length(tag - 0xc7)?;
            input.take(length.saturating_add(1))?;
            Node::Opaque
        }
        0xca => Node::Float(f32::from_be_bytes(input.array()?).into()),
        0xcb => Node::Float(f64::from_be_bytes(input.array()?)),
        0xcc => Node::Integer(u8::from_be_bytes(input.array()?).into()),
        0xcd => Node::Integer(u16::from_be_bytes(input.array()?).into()),
        0xce => Node::Integer(u32::from_be_bytes(input.array()?).into()),
        0xcf => Node::Integer(u64::from_be_bytes(input.array()?).into()),
        0xd0 => Node::Integer(i8::from_be_bytes(input.array()?).into()),
        0xd1 => Node::Integer(i16::from_be_bytes(input.array()?).into()),
        0xd2 => Node::Integer(i32::from_be_bytes(input.array()?).into()),
        0xd3 => Node::Integer(i64::from_be_bytes(input.array()?).into()),
        // Extensions of a fixed length, and the byte that says which.
        0xd4..=0xd8 => {
            input.take((1 << (tag - 0xd4)) + 1)?;
            Node::Opaque
        }
        0xd9..=0xdb => {
            let length = input.length(tag - 0xd9)?;
            text(input.take(length)?)?
        }
        0xdc | 0xdd => return container(false, input.length(tag - 0xdc + 1)?),
        0xde | 0xdf => return container(true, input.length(tag - 0xde + 1)?),
        0xe0..=0xff => Node::Integer(i8::from_be_bytes([tag]).into()),
    };
    Ok(Item::Scalar(node))
}

fn text(bytes: &[u8]) -> Result<Node, Reason> {
    str::from_utf8(bytes).map(|text| Node::Text(text.to_owned())).map_err(|_| Reason::Corrupt)
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, length: u64) -> Result<&'a [u8], Reason> {
        let length = usize::try_from(length).map_err(|_| Reason::Corrupt)?;
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Reason::Corrupt)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Reason> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Reason::Corrupt)?;
        self.0 = rest;
        Ok(*taken)
    }

    /// A length of 1, 2 or 4 bytes.
    fn length(&mut self, size: u8) -> Result<u64, Reason> {
        Ok(match size {
            0 => u8::from_be_bytes(self.array()?).into(),
            1 => u16::from_be_bytes(self.array()?).into(),
            _ => u32::from_be_bytes(self.array()?).into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold_and_claims_reserve_nothing() {
        for (input, reason) in [
            (&b"\xdd\xff\xff\xff\xff"[..], Reason::Corrupt),
            (b"\xdf\xff\xff\xff\xff\xc0", Reason::Corrupt),
            (b"\xc6\xff\xff\xff\xffx", Reason::Corrupt),
            (b"\xdb\xff\xff\xff\xffx", Reason::Corrupt),
            (b"\xc9\xff\xff\xff\xff\x01", Reason::Corrupt),
            (b"", Reason::Corrupt),
            (b"\xc1", Reason::Corrupt),
            (b"\xa2\xc3\x28", Reason::Corrupt),
            (b"\x01\x01", Reason::Corrupt),
            (b"\x92\x01", Reason::Corrupt),
            (b"\x81\x01", Reason::Corrupt),
            (&b"\x91".repeat(128), Reason::TooDeep),
            (&[&b"\x91".repeat(127)[..], b"\x90"].concat(), Reason::TooDeep),
            (&[b"\xdd\x00\x02\x00\x00".to_vec(), vec![0; 1 << 17]].concat(), Reason::TooLarge),
        ] {
            assert_eq!(read(input).err(), Some(reason), "{}", input.escape_ascii());
        }
        assert!(read(&[&b"\x91".repeat(127)[..], b"\x01"].concat()).is_ok());
    }

    #[test]
    fn every_kind_is_read() {
        let items: [(&[u8], Node); 18] = [
            (b"\x7f", Node::Integer(127)),
            (b"\xe0", Node::Integer(-32)),
            (b"\xcc\xff", Node::Integer(255)),
            (b"\xcd\x01\x00", Node::Integer(256)),
            (b"\xce\xff\xff\xff\xff", Node::Integer(u32::MAX.into())),
            (b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", Node::Integer(u64::MAX.into())),
            (b"\xd0\x80", Node::Integer(-128)),
            (b"\xd1\x80\x00", Node::Integer(-32_768)),
            (b"\xd2\x80\x00\x00\x00", Node::Integer(i32::MIN.into())),
            (b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00", Node::Integer(i64::MIN.into())),
            (b"\xca\x3f\x80\x00\x00", Node::Float(1.0)),
            (b"\xa2\xc3\xa9", Node::Text("é".to_owned())),
            (b"\xd9\x01x", Node::Text("x".to_owned())),
            (b"\xda\x00\x01x", Node::Text("x".to_owned())),
            (b"\xc4\x01x", Node::Bytes(b"x".to_vec())),
            (b"\xd4\x01x", Node::Opaque),
            (b"\xd8\x01xxxxxxxxxxxxxxxx", Node::Opaque),
            (b"\xc7\x02\x01xx", Node::Opaque),
        ];
        for (input, node) in items {
            let read = read(input).unwrap();
            assert_eq!(*read.node(read.root()), node, "{}", input.escape_ascii());
        }
    }
}
