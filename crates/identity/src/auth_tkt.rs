//! Tickets in the manner of mod_auth_tkt, as repoze.who, Paste and Pyramid write them: a hex digest, the
//! time in eight hex digits, the user, tokens and data. No store knows them, and nothing revokes them.

use core::net::IpAddr;
use std::borrow::Cow;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use serde_json::{Value, json};
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq as _;

use crate::{Reason, Secret, percent};

/// How an application's tickets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tickets {
    /// What they are signed with; a ticket does not say it.
    pub digest: Digest,
    /// Whether a ticket is good from one address alone.
    pub include_ip: bool,
    /// Whether the whole ticket is in base64.
    pub base64: bool,
    /// How far a ticket's time may be ahead of ours.
    pub max_skew: Duration,
}

/// A hash function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digest {
    /// The usual one of repoze.who and Paste.
    Md5,
    /// SHA-256.
    Sha256,
    /// The usual one of Pyramid.
    Sha512,
}

/// A ticket whose signature is good.
#[derive(Debug, PartialEq)]
pub(crate) struct Ticket {
    /// When it was written, since 1970.
    pub(crate) at: Duration,
    /// `userid` and `tokens`, to be picked from.
    pub(crate) content: Value,
}

/// The ticket in a cookie, its signature verified against each secret in turn.
///
/// # Errors
/// It is not of that form, or no secret made it, or not for this address, or it is not of this time.
pub(crate) fn verify(
    value: &str,
    secrets: &[Secret],
    tickets: &Tickets,
    remote: Option<IpAddr>,
    now: Duration,
) -> Result<Ticket, Reason> {
    let value = if tickets.base64 { decode(value)?.into() } else { Cow::from(value) };
    let parts = split(&value, tickets.digest).ok_or(Reason::Malformed)?;
    let address = match remote {
        _ if !tickets.include_ip => Some([0; 4].into()),
        remote => remote.map(|remote| remote.to_canonical()),
    };
    let address = address.ok_or(Reason::BadSignature)?;
    let verified = secrets.iter().any(|secret| {
        let digest = parts.digest_by(tickets.digest, address, secret.bytes());
        digest.as_bytes().ct_eq(parts.digest.as_bytes()).into()
    });
    if !verified {
        return Err(Reason::BadSignature);
    }
    let at = Duration::from_secs(parts.time.into());
    if at > now.saturating_add(tickets.max_skew) {
        return Err(Reason::NotYetValid);
    }
    let tokens: Vec<_> = parts.tokens.split(',').filter(|token| !token.is_empty()).collect();
    Ok(Ticket { at, content: json!({ "userid": user(&parts), "tokens": tokens }) })
}

fn decode(value: &str) -> Result<String, Reason> {
    let decoded = STANDARD.decode(value).map_err(|_| Reason::Malformed)?;
    String::from_utf8(decoded).map_err(|_| Reason::Malformed)
}

struct Parts<'a> {
    digest: &'a str,
    time: u32,
    user: Cow<'a, str>,
    tokens: &'a str,
    data: &'a str,
}

fn split(ticket: &str, digest: Digest) -> Option<Parts<'_>> {
    let (digest, rest) = ticket.split_at_checked(digest.digits())?;
    let (time, rest) = rest.split_at_checked(8)?;
    // Stricter than Python's `int`, which takes a sign, "0x", "_" and blanks.
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if !digest.bytes().chain(time.bytes()).all(hex) {
        return None;
    }
    let (user, rest) = rest.split_once('!')?;
    let (tokens, data) = rest.split_once('!').unwrap_or(("", rest));
    let user = percent::decode(user)?;
    // In what is signed, NUL stands between the parts: one within would move them.
    let nul = user.contains('\0') || tokens.contains('\0') || data.contains('\0');
    let time = u32::from_str_radix(time, 16).ok()?;
    (!nul).then_some(Parts { digest, time, user, tokens, data })
}

impl Parts<'_> {
    fn digest_by(&self, digest: Digest, address: IpAddr, secret: &[u8]) -> String {
        let origin = match address {
            IpAddr::V4(address) => [address.octets(), self.time.to_be_bytes()].concat(),
            // Pyramid's own form. The others do not know such addresses.
            IpAddr::V6(address) => format!("{address}{}", self.time).into_bytes(),
        };
        let [user, tokens, data] = [&*self.user, self.tokens, self.data].map(str::as_bytes);
        let first = digest.hex(&[&origin, secret, user, b"\0", tokens, b"\0", data]);
        digest.hex(&[first.as_bytes(), secret])
    }
}

impl Digest {
    fn digits(self) -> usize {
        match self {
            Self::Md5 => 32,
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }

    fn hex(self, parts: &[&[u8]]) -> String {
        match self {
            Self::Md5 => hash::<Md5>(parts),
            Self::Sha256 => hash::<Sha256>(parts),
            Self::Sha512 => hash::<Sha512>(parts),
        }
    }
}

fn hash<D: sha2::Digest>(parts: &[&[u8]]) -> String {
    let mut hash = D::new();
    parts.iter().for_each(|part| hash.update(part));
    hex::encode(hash.finalize())
}

/// The user's id, as its type in the data says: `userid_type=…` among URL parameters with repoze.who,
/// `userid_type:…` between bars with Pyramid.
fn user(parts: &Parts<'_>) -> Option<String> {
    let pyramid = parts.data.split('|').find_map(|part| part.strip_prefix("userid_type:"));
    let of_type = |part: &'_ str| part.strip_prefix("userid_type=").map(str::to_owned);
    let kind = match pyramid {
        Some(kind) => Some(kind.to_owned()),
        None => parts.data.split('&').find_map(of_type),
    };
    match kind.as_deref() {
        Some("int") => is_integer(&parts.user).then(|| parts.user.clone().into_owned()),
        Some("b64unicode" | "b64str") => {
            let decoded = STANDARD.decode(&*parts.user).ok()?;
            String::from_utf8(decoded).ok()
        }
        _ => Some(parts.user.clone().into_owned()),
    }
}

/// Whether it is a number as `str` writes it: one user has one spelling.
fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    plain && (text == "0" || !digits.starts_with('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Tickets = Tickets {
        digest: Digest::Md5,
        include_ip: false,
        base64: false,
        max_skew: Duration::from_secs(300),
    };

    fn ticket(user: &str, rest: &str, tickets: &Tickets, address: &str) -> String {
        let form = format!("{}{:08x}{user}!{rest}", "0".repeat(tickets.digest.digits()), 1_000);
        let parts = split(&form, tickets.digest).unwrap();
        let digest = parts.digest_by(tickets.digest, address.parse().unwrap(), b"secret");
        form.replacen(parts.digest, &digest, 1)
    }

    fn judge(value: &str, tickets: &Tickets, from: Option<&str>) -> Result<Ticket, Reason> {
        let secrets = ["new", "secret"].map(|one| Secret::new(one.as_bytes()).unwrap());
        let from = from.map(|from| from.parse().unwrap());
        verify(value, &secrets, tickets, from, Duration::from_secs(1_000))
    }

    #[test]
    fn user_is_of_the_type_that_the_data_says() {
        let cases = [
            ("alice", "", Some("alice")),
            ("j%C3%B6rg", "", Some("jörg")),
            ("77", "userid_type=int", Some("77")),
            ("77", "a=1&userid_type=int", Some("77")),
            ("-7", "userid_type:int", Some("-7")),
            ("077", "userid_type=int", None),
            ("7_7", "userid_type:int", None),
            (" 7", "userid_type=int", None),
            ("", "userid_type=int", None),
            ("Ym9i", "x|userid_type:b64str", Some("bob")),
            ("Ym9i", "x|userid_type:b64unicode", Some("bob")),
            ("Ym9", "userid_type:b64str", None),
            ("/w%3D%3D", "userid_type:b64unicode", None),
            ("bob", "userid_type:other", Some("bob")),
            ("bob", "a,b!userid_type=unicode", Some("bob")),
        ];
        for (user, data, expected) in cases {
            let told = judge(&ticket(user, data, &PLAIN, "0.0.0.0"), &PLAIN, None).unwrap();
            assert_eq!(told.content["userid"].as_str(), expected, "{user} {data}");
        }
        let told = judge(&ticket("bob", "a,,b!x", &PLAIN, "0.0.0.0"), &PLAIN, None).unwrap();
        assert_eq!(told.content["tokens"], json!(["a", "b"]));
    }

    #[test]
    fn ticket_is_good_from_its_address_alone() {
        let bound = Tickets { include_ip: true, ..PLAIN };
        for (address, other) in [("192.0.2.7", "192.0.2.8"), ("2001:db8::1", "2001:db8::2")] {
            let ticket = ticket("bob", "", &bound, address);
            assert!(judge(&ticket, &bound, Some(address)).is_ok());
            for from in [Some(other), Some("0.0.0.0"), None] {
                assert_eq!(judge(&ticket, &bound, from), Err(Reason::BadSignature), "{from:?}");
            }
            assert_eq!(judge(&ticket, &PLAIN, Some(address)), Err(Reason::BadSignature));
        }
        let four = ticket("bob", "", &bound, "192.0.2.7");
        assert!(judge(&four, &bound, Some("::ffff:192.0.2.7")).is_ok());
    }

    #[test]
    fn form_is_strict() {
        let good = ticket("bob", "a!b", &PLAIN, "0.0.0.0");
        assert!(judge(&good, &PLAIN, None).is_ok());
        let encoded = STANDARD.encode(&good);
        let base64 = Tickets { base64: true, ..PLAIN };
        assert!(judge(&encoded, &base64, None).is_ok());
        assert_eq!(judge(&encoded, &PLAIN, None), Err(Reason::Malformed));
        assert_eq!(judge(&good, &base64, None), Err(Reason::Malformed));
        assert_eq!(judge(&format!(" {encoded}"), &base64, None), Err(Reason::Malformed));
        for cut in 0..good.len() {
            assert!(judge(good.split_at(cut).0, &PLAIN, None).is_err(), "{cut}");
        }
        let upper = good.to_uppercase();
        for bad in [&*upper, &good.replace("bob", "bob%00"), &good.replace("!b", "!b\0"), "é"] {
            assert_eq!(judge(bad, &PLAIN, None), Err(Reason::Malformed), "{bad:?}");
        }
        // The signature is over what the user's escapes say, as in Python.
        assert!(judge(&good.replace("bob!", "bo%62!"), &PLAIN, None).is_ok());
        // Whoever could move the border between two parts could be somebody else.
        for moved in ["bob!ab", "bob!!ab", "boba!!b", "bob!a!b!", "bobx!a!b"] {
            let moved = good.replace("bob!a!b", moved);
            assert_eq!(judge(&moved, &PLAIN, None), Err(Reason::BadSignature), "{moved}");
        }
    }
}
