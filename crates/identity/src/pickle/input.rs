//! What follows an opcode: numbers, strings and lines.

use super::opcode::*;
use super::text::{raw_unicode_escape, repr};
use super::{Node, Reason};

/// Digits of one number; CPython reads no more, either.
const DIGITS: usize = 4_300;

/// What is still to be read.
#[derive(Default)]
pub(super) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        Self(input)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> Result<u8, Reason> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// The number of a memo.
    pub(super) fn index(&mut self, opcode: u8) -> Result<usize, Reason> {
        match opcode {
            BINGET | BINPUT => Ok(self.byte()?.into()),
            LONG_BINGET | LONG_BINPUT => {
                usize::try_from(u32::from_le_bytes(self.array()?)).map_err(|_| Reason::TooLarge)
            }
            _ => parse(self.line()?),
        }
    }

    pub(super) fn number(&mut self, opcode: u8) -> Result<Node, Reason> {
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
            FLOAT => Node::Float(float(self.line()?)?),
            // Protocol 0 writes booleans as these numbers.
            _ => match self.line()? {
                b"00" if opcode == INT => Node::Boolean(false),
                b"01" if opcode == INT => Node::Boolean(true),
                line if opcode == LONG => decimal(line.strip_suffix(b"L").unwrap_or(line))?,
                line => decimal(line)?,
            },
        })
    }

    pub(super) fn string(&mut self, opcode: u8) -> Result<Node, Reason> {
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

    /// The name of a class, which nobody here asks for; still it is a name, in `INST` an old one.
    pub(super) fn class(&mut self, opcode: u8) -> Result<(), Reason> {
        for _ in 0..2 {
            let name = std::str::from_utf8(self.line()?).map_err(|_| Reason::Corrupt)?;
            if name.is_empty() || opcode == INST && !name.is_ascii() {
                return Err(Reason::Corrupt);
            }
        }
        Ok(())
    }

    /// The length of a frame. It helps readers of files; here it must only not promise too much.
    pub(super) fn frame(&mut self) -> Result<(), Reason> {
        let length = usize::try_from(u64::from_le_bytes(self.array()?));
        if length.is_ok_and(|length| length <= self.0.len()) {
            Ok(())
        } else {
            Err(Reason::Corrupt)
        }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Reason> {
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(Reason::Corrupt)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn line(&mut self) -> Result<&'a [u8], Reason> {
        let end = self.0.iter().position(|byte| *byte == b'\n').ok_or(Reason::Corrupt)?;
        let line = self.take(end)?;
        self.byte()?;
        Ok(line)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Reason> {
        let (array, rest) = self.0.split_first_chunk::<N>().ok_or(Reason::Corrupt)?;
        self.0 = rest;
        Ok(*array)
    }
}

fn parse<T: std::str::FromStr>(line: &[u8]) -> Result<T, Reason> {
    let text = std::str::from_utf8(line).map_err(|_| Reason::Corrupt)?;
    text.parse().map_err(|_| Reason::Corrupt)
}

/// Infinity must be called so.
fn float(line: &[u8]) -> Result<f64, Reason> {
    let number: f64 = parse(line)?;
    let overflow = number.is_infinite() && line.iter().any(u8::is_ascii_digit);
    if overflow { Err(Reason::Corrupt) } else { Ok(number) }
}

fn decimal(line: &[u8]) -> Result<Node, Reason> {
    if line.len() > DIGITS {
        return Err(Reason::TooLarge);
    }
    let digits = line.strip_prefix(b"-").unwrap_or(line);
    // A zero before others means octal to some readers, and nobody writes one.
    let plain = match digits {
        [b'0'] => line == b"0",
        [b'0', ..] | [] => false,
        digits => digits.iter().all(u8::is_ascii_digit),
    };
    if !plain {
        return Err(Reason::Corrupt);
    }
    Ok(parse(line).map_or(Node::BigInteger, Node::Integer))
}

/// Two's complement, of any length.
fn little_endian(bytes: &[u8]) -> Node {
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let sign = if negative { 0xff } else { 0 };
    let (low, high) = bytes.split_at(bytes.len().min(16));
    let mut whole = [sign; 16];
    for (to, from) in whole.iter_mut().zip(low) {
        *to = *from;
    }
    let number = i128::from_le_bytes(whole);
    // What is beyond may only repeat the sign.
    let fits = high.iter().all(|byte| *byte == sign) && (number < 0) == negative;
    if fits { Node::Integer(number) } else { Node::BigInteger }
}
