//! The signer of itsdangerous as Flask-Session uses it: the id, a dot, and HMAC-SHA1 over the id in
//! base64url without padding. The key is HMAC-SHA1 of the salt, made with the application's secret.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha1::Sha1;

use crate::{Reason, Secret};

/// The id in a cookie, its signature verified against each secret in turn.
///
/// # Errors
/// It is not of that form, or no secret made it.
pub(crate) fn verify<'a>(
    value: &'a str,
    secrets: &[Secret],
    salt: &str,
) -> Result<&'a str, Reason> {
    let (id, signature) = value.rsplit_once('.').ok_or(Reason::Malformed)?;
    let mut digest = [0; 21];
    let decoded = URL_SAFE_NO_PAD.decode_slice(signature, &mut digest);
    let length = decoded.map_err(|_| Reason::BadSignature)?;
    let digest = digest.get(..length).unwrap_or_default();
    let verified = secrets.iter().any(|secret| {
        let Some(key) = mac(secret.bytes(), salt.as_bytes()) else { return false };
        let Some(mac) = mac(&key.finalize().into_bytes(), id.as_bytes()) else { return false };
        mac.verify_slice(digest).is_ok()
    });
    if verified { Ok(id) } else { Err(Reason::BadSignature) }
}

/// HMAC takes keys of any length.
fn mac(key: &[u8], text: &[u8]) -> Option<Hmac<Sha1>> {
    <Hmac<Sha1> as Mac>::new_from_slice(key).ok().map(|mac| mac.chain_update(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_is_what_one_of_the_secrets_signed() {
        let secrets = ["new", "flask-secret"].map(|one| Secret::new(one.as_bytes()).unwrap());
        let verify = |value: &str, salt| verify(value, &secrets, salt).map(str::to_owned);
        // By Flask-Session 0.8.0.
        let id = "90u6Gqdj_BpmLyaMGuntsVj2K_OYv2DYAu6io5bkq9g";
        let good = format!("{id}.jMm-tokZPzjZvWNCVMn5_KK6l0k");
        assert_eq!(verify(&good, "flask-session"), Ok(id.to_owned()));
        assert_eq!(verify(&good, "itsdangerous"), Err(Reason::BadSignature));
        for bad in [
            format!("{good}="),
            format!("{good}A"),
            // The last digit has two bits to spare: only zeroes are canonical.
            format!("{}l", good.split_at(good.len() - 1).0),
            format!("{id}x.jMm-tokZPzjZvWNCVMn5_KK6l0k"),
            format!("{id}."),
            good.replace('-', "+"),
        ] {
            assert_eq!(verify(&bad, "flask-session"), Err(Reason::BadSignature), "{bad}");
        }
        assert_eq!(verify(id, "flask-session"), Err(Reason::Malformed));
    }
}
