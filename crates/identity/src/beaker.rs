//! Beaker's session cookie: 40 hex digits of HMAC-SHA1 over what follows, the session id or the whole
//! session. And its encrypted sessions: a nonce as text, then base64 of what AES-256-GCM made.

use aes_gcm::aead::{AeadInPlace as _, KeyInit as _};
use aes_gcm::{Aes256Gcm, Key};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha1::Sha1;

use crate::{Reason, Secret};

/// What is signed in a cookie, the signature verified against each secret in turn.
///
/// # Errors
/// It is not of that form, or no secret made it.
pub(crate) fn verify<'a>(value: &'a str, secrets: &[Secret]) -> Result<&'a str, Reason> {
    let (signature, signed) = value.split_at_checked(40).ok_or(Reason::Malformed)?;
    if signature.bytes().any(|digit| digit.is_ascii_uppercase()) {
        // Beaker compares text, and writes small letters.
        return Err(Reason::Malformed);
    }
    let mut digest = [0; 20];
    hex::decode_to_slice(signature, &mut digest).map_err(|_| Reason::Malformed)?;
    let verified = secrets.iter().any(|secret| {
        // HMAC takes keys of any length.
        let Ok(mut mac) = <Hmac<Sha1> as Mac>::new_from_slice(secret.bytes()) else { return false };
        mac.update(signed.as_bytes());
        mac.verify_slice(&digest).is_ok()
    });
    if verified { Ok(signed) } else { Err(Reason::BadSignature) }
}

/// What an application of Beaker encrypts its sessions with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BeakerKeys {
    encrypt: Secret,
    validate: Secret,
}

impl BeakerKeys {
    /// Beaker's `encrypt_key` and `validate_key`; both, or there are none.
    pub fn new(encrypt: &[u8], validate: &[u8]) -> Option<Self> {
        Some(Self { encrypt: Secret::new(encrypt)?, validate: Secret::new(validate)? })
    }

    /// Each session has its own key, and the nonce goes into it as it stands, undecoded.
    fn of_session(&self, nonce: &[u8]) -> Key<Aes256Gcm> {
        let salt = [self.validate.bytes(), nonce].concat();
        let mut key = Key::<Aes256Gcm>::default();
        pbkdf2::pbkdf2_hmac::<Sha1>(self.encrypt.bytes(), &salt, ROUNDS, &mut key);
        key
    }
}

/// Beaker takes its keys to be random, and does not stretch them.
const ROUNDS: u32 = 1;

/// 16 random bytes in base64 (Beaker's `encrypt_nonce_bits`: 128, by default).
const NONCE: usize = 24;

/// The session of an encrypted value, which nobody without the keys can have written.
///
/// # Errors
/// It is not of that form, or other keys made it.
pub(crate) fn decrypt(value: &[u8], keys: &BeakerKeys) -> Result<Vec<u8>, Reason> {
    let (nonce, sealed) = value.split_at_checked(NONCE).ok_or(Reason::Corrupt)?;
    let sealed = STANDARD.decode(sealed.trim_ascii_end()).map_err(|_| Reason::Corrupt)?;
    let (iv, sealed) = sealed.split_first_chunk::<12>().ok_or(Reason::Corrupt)?;
    let (tag, sealed) = sealed.split_first_chunk::<16>().ok_or(Reason::Corrupt)?;
    let mut plain = sealed.to_vec();
    Aes256Gcm::new(&keys.of_session(nonce))
        .decrypt_in_place_detached(iv.into(), b"", &mut plain, tag.into())
        .map_err(|_| Reason::Corrupt)?;
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `{'user': 77}`, as Beaker 1.14.1 wrote it with the keys `ek` and `vk`.
    const VALUE: &[u8] =
        b"GdpdH6Trndhtwvyt+mvj8g==62JDMY0Aiu1cLQPfCidvuAPb8aUSc7v17QIxyHJY4aD+WPuNbpZiu78t9IohGw8H";

    #[test]
    fn encrypted_session_opens_with_its_keys_alone() {
        let keys = BeakerKeys::new(b"ek", b"vk").unwrap();
        assert_eq!(
            decrypt(VALUE, &keys).as_deref(),
            Ok(&b"\x80\x02}q\x00X\x04\x00\x00\x00userq\x01KMs."[..])
        );
        for (encrypt, validate) in [(b"ek", b"v2"), (b"e2", b"vk"), (b"vk", b"ek")] {
            let others = BeakerKeys::new(encrypt, validate).unwrap();
            assert_eq!(decrypt(VALUE, &others), Err(Reason::Corrupt));
        }
        assert_eq!(BeakerKeys::new(b"", b"vk"), None);
        assert_eq!(BeakerKeys::new(b"ek", b""), None);
    }

    #[test]
    fn changed_encrypted_session_is_refused() {
        let keys = BeakerKeys::new(b"ek", b"vk").unwrap();
        for at in 0..VALUE.len() {
            let mut value = VALUE.to_vec();
            value[at] = if value[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(decrypt(&value, &keys), Err(Reason::Corrupt), "at {at}");
            assert_eq!(decrypt(&VALUE[..at], &keys), Err(Reason::Corrupt), "up to {at}");
        }
    }
}
