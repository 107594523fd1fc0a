//! The cookie of express-session and cookie-parser: `s:`, the id, a dot, and HMAC-SHA256 over the id in
//! base64 without padding; the whole percent-encoded.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::{Reason, Secret, percent};

/// The id in a cookie, its signature verified against each secret in turn.
///
/// # Errors
/// It is not of that form, or no secret made it.
pub(crate) fn verify<'a>(value: &'a str, secrets: &[Secret]) -> Result<Cow<'a, str>, Reason> {
    let value = percent::decode(value).ok_or(Reason::Malformed)?;
    // Without the mark it is somebody's own invention: Express takes it for unsigned, too.
    let signed = value.strip_prefix("s:").ok_or(Reason::BadSignature)?;
    let (id, signature) = signed.rsplit_once('.').ok_or(Reason::Malformed)?;
    let mut digest = [0; 33];
    let decoded = STANDARD_NO_PAD.decode_slice(signature, &mut digest);
    let length = decoded.map_err(|_| Reason::BadSignature)?;
    let digest = digest.get(..length).unwrap_or_default();
    let verified = secrets.iter().any(|secret| {
        // HMAC takes keys of any length.
        let Ok(mut mac) = <Hmac<Sha256> as Mac>::new_from_slice(secret.bytes()) else {
            return false;
        };
        mac.update(id.as_bytes());
        mac.verify_slice(digest).is_ok()
    });
    if verified { Ok(id.to_owned().into()) } else { Err(Reason::BadSignature) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_is_what_one_of_the_secrets_signed() {
        let secrets = ["new", "keyboard cat"].map(|one| Secret::new(one.as_bytes()).unwrap());
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(b"keyboard cat").unwrap();
        mac.update(b"a.b");
        let good = STANDARD_NO_PAD.encode(mac.finalize().into_bytes());
        let encoded = good.replace('+', "%2B").replace('/', "%2F");
        for cookie in [format!("s:a.b.{good}"), format!("s%3Aa.b.{encoded}")] {
            assert_eq!(verify(&cookie, &secrets).as_deref(), Ok("a.b"));
            assert_eq!(verify(&cookie, &secrets[..1]), Err(Reason::BadSignature));
        }
        for cookie in [
            "a.b".to_owned(),
            format!("a.b.{good}"),
            format!("s:a.c.{good}"),
            format!("s:a.b.{good}="),
            format!("s:a.b.{good}A"),
            format!("s:a.b.{}", good.split_at(1).1),
            "s:a.b.".to_owned(),
        ] {
            assert_eq!(verify(&cookie, &secrets), Err(Reason::BadSignature), "{cookie}");
        }
        for cookie in ["s:ab", "s%3", "s%zz", "s:%ff.x"] {
            assert_eq!(verify(cookie, &secrets), Err(Reason::Malformed), "{cookie}");
        }
    }
}
