//! Pickle's text forms: Python's repr of a string, and raw-unicode-escape.

use super::Reason;

/// Python 2's repr of a `str`: quoted, with escapes; the value is bytes.
pub(super) fn repr(line: &[u8]) -> Result<Vec<u8>, Reason> {
    let inner = match line {
        [b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"'] => inner,
        _ => return Err(Reason::Corrupt),
    };
    let mut value = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            value.push(byte);
            continue;
        }
        match bytes.next().ok_or(Reason::Corrupt)? {
            b'n' => value.push(b'\n'),
            b'r' => value.push(b'\r'),
            b't' => value.push(b'\t'),
            b'a' => value.push(7),
            b'b' => value.push(8),
            b'f' => value.push(12),
            b'v' => value.push(11),
            b'\n' => {}
            b'x' => value.push(u8::try_from(hex(&mut bytes, 2)?).map_err(|_| Reason::Corrupt)?),
            digit @ b'0'..=b'7' => value.push(octal(digit, &mut bytes)?),
            other @ (b'\\' | b'\'' | b'"') => value.push(other),
            other => value.extend_from_slice(&[b'\\', other]),
        }
    }
    Ok(value)
}

/// `UNICODE`'s line: Latin-1 but for `\uXXXX` and `\UXXXXXXXX`.
pub(super) fn raw_unicode_escape(line: &[u8]) -> Result<String, Reason> {
    let mut value = String::with_capacity(line.len());
    let mut units: Vec<u16> = Vec::new();
    let mut bytes = line.iter().copied().peekable();
    // A backslash escapes only if an odd number of them stands before the u.
    while let Some(byte) = bytes.next() {
        let escape = match (byte, bytes.peek()) {
            (b'\\', Some(b'u')) => Some(4),
            (b'\\', Some(b'U')) => Some(8),
            (b'\\', Some(b'\\')) => {
                bytes.next();
                flush(&mut units, &mut value)?;
                value.push_str("\\\\");
                continue;
            }
            _ => None,
        };
        let Some(digits) = escape else {
            flush(&mut units, &mut value)?;
            value.push(char::from(byte));
            continue;
        };
        bytes.next();
        let code = hex(&mut bytes, digits)?;
        match u16::try_from(code) {
            // Halves of a pair come one by one.
            Ok(unit) => units.push(unit),
            Err(_) => {
                flush(&mut units, &mut value)?;
                value.push(char::from_u32(code).ok_or(Reason::Corrupt)?);
            }
        }
    }
    flush(&mut units, &mut value)?;
    Ok(value)
}

/// A half of a pair without its other half is no text here.
fn flush(units: &mut Vec<u16>, value: &mut String) -> Result<(), Reason> {
    if !units.is_empty() {
        value.push_str(&String::from_utf16(units).map_err(|_| Reason::Corrupt)?);
        units.clear();
    }
    Ok(())
}

fn hex(bytes: &mut impl Iterator<Item = u8>, digits: usize) -> Result<u32, Reason> {
    let mut value = 0_u32;
    for _ in 0..digits {
        let digit = char::from(bytes.next().ok_or(Reason::Corrupt)?);
        value = value << 4 | digit.to_digit(16).ok_or(Reason::Corrupt)?;
    }
    Ok(value)
}

/// One to three digits.
fn octal(first: u8, bytes: &mut (impl Iterator<Item = u8> + Clone)) -> Result<u8, Reason> {
    let mut value = u32::from(first - b'0');
    for _ in 0..2 {
        let Some(digit @ b'0'..=b'7') = bytes.clone().next() else { break };
        bytes.next();
        value = value << 3 | u32::from(digit - b'0');
    }
    u8::try_from(value).map_err(|_| Reason::Corrupt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repr_is_undone() {
        let cases: [(&[u8], &[u8]); 6] = [
            (b"''", b""),
            (b"'a\\'b'", b"a'b"),
            (b"\"it's\"", b"it's"),
            (b"'\\xe9\\n\\\\'", b"\xe9\n\\"),
            (b"'\\0\\12\\377'", b"\0\n\xff"),
            (b"'\\q'", b"\\q"),
        ];
        for (line, value) in cases {
            assert_eq!(repr(line).as_deref(), Ok(value));
        }
        for line in [&b""[..], b"'", b"'a", b"a", b"'\\x4'", b"'\\777'", b"'a' "] {
            assert_eq!(repr(line), Err(Reason::Corrupt), "{line:?}");
        }
    }

    #[test]
    fn raw_unicode_escape_is_undone() {
        let cases: [(&[u8], &str); 5] = [
            (b"plain \xe9", "plain é"),
            (b"\\u20ac", "€"),
            (b"\\U0001f600", "😀"),
            (b"\\ud83d\\ude00", "😀"),
            (b"a\\\\u0041", "a\\\\u0041"),
        ];
        for (line, value) in cases {
            assert_eq!(raw_unicode_escape(line).as_deref(), Ok(value));
        }
        for line in [&b"\\ud83d"[..], b"\\u12", b"\\U00110000"] {
            assert_eq!(raw_unicode_escape(line), Err(Reason::Corrupt), "{line:?}");
        }
    }
}
