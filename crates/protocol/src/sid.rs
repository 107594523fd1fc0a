//! Session ids: 120 random bits that the caller draws, as 20 URL-safe characters.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// An Engine.IO or Socket.IO session id. It is a secret: whoever knows it may speak as the session,
/// so `Debug` does not show it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sid([u8; 15]);

impl Sid {
    /// An id made of random bytes; the caller's source must be cryptographic.
    pub const fn new(random: [u8; 15]) -> Self {
        Self(random)
    }

    /// Reads an id as a client sends it; `None` if it cannot be one of ours.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 20 {
            return None;
        }
        let mut bytes = [0; 15];
        match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
            Ok(15) => Some(Self(bytes)),
            _ => None,
        }
    }
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sid(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips() {
        let sid = Sid::new([7; 15]);
        assert_eq!(sid.to_string().len(), 20);
        assert_eq!(Sid::parse(&sid.to_string()), Some(sid));
    }

    #[test]
    fn other_texts_are_no_ids() {
        for text in ["", "short", "####################", "AAAAAAAAAAAAAAAAAAAAA"] {
            assert_eq!(Sid::parse(text), None, "{text}");
        }
    }

    #[test]
    fn debug_keeps_the_secret() {
        assert_eq!(format!("{:?}", Sid::new([7; 15])), "Sid(…)");
    }
}
