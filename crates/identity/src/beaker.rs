//! Beaker's session cookie: 40 hex digits of HMAC-SHA1 over the session id, then the id itself.

use hmac::{Hmac, Mac as _};
use sha1::Sha1;

use crate::{Reason, Secret};

/// The session id of a cookie, its signature verified against each secret in turn.
///
/// # Errors
/// It is not of that form, or no secret made it.
pub(crate) fn verify<'a>(value: &'a str, secrets: &[Secret]) -> Result<&'a str, Reason> {
    let (signature, id) = value.split_at_checked(40).ok_or(Reason::Malformed)?;
    let mut digest = [0; 20];
    hex::decode_to_slice(signature, &mut digest).map_err(|_| Reason::Malformed)?;
    let signed = secrets.iter().any(|secret| {
        // HMAC takes keys of any length.
        let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(secret.bytes()) else { return false };
        mac.update(id.as_bytes());
        mac.verify_slice(&digest).is_ok()
    });
    if signed { Ok(id) } else { Err(Reason::BadSignature) }
}
