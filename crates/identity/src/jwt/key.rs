//! What verifies a token's signature: secrets, and public keys out of PEM files (RFC 7468) and key sets
//! (RFC 7517). The cryptography is ring's.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::{hmac, signature};
use serde_json::Value;
use thiserror::Error;

use super::Algorithm;
use crate::Secret;

/// Whoever can sign with its other half may say who somebody is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// The name that tokens call it by.
    kid: Option<String>,
    key: Key,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Key {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// An uncompressed point of one of two curves, or an Ed25519 key.
    Point(Vec<u8>),
}

/// Why there is no key in a file.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    /// No such block.
    #[error("no public key in it; it should have a block -----BEGIN PUBLIC KEY-----")]
    NoPem,
    /// More than is needed.
    #[error("a private key; give the hub the public one alone, as openssl pkey -pubout makes it")]
    Private,
    /// A key in other wrapping.
    #[error("a certificate; take its key out, with openssl x509 -pubkey -noout")]
    Certificate,
    /// Not what it says it is.
    #[error("a key that cannot be read")]
    Broken,
    /// A key of another algorithm.
    #[error("no key for {0}")]
    Other(&'static str),
    /// It is too easy to break.
    #[error("an RSA key of fewer than 2048 or more than 8192 bits")]
    Size,
    /// Not what it should be.
    #[error("no JSON Web Key Set, {{\"keys\": […]}}")]
    NoSet,
    /// Each token without a name might be tried with all.
    #[error("more than {MOST} keys")]
    TooMany,
}

/// A handful is usual: one in use, one to come, one of before.
const MOST: usize = 64;

/// The keys in a PEM file: one, or during a rotation several.
///
/// # Errors
/// There is none, or one of them is not for this algorithm.
pub fn keys_from_pem(text: &str, alg: Algorithm) -> Result<Vec<PublicKey>, KeyError> {
    let mut keys = Vec::new();
    let mut rest = text;
    while let Some((_, block)) = rest.split_once("-----BEGIN ") {
        let (label, block) = block.split_once("-----").ok_or(KeyError::Broken)?;
        let (body, after) = block.split_once("-----END ").ok_or(KeyError::Broken)?;
        rest = after;
        let body: String = body.split_ascii_whitespace().collect();
        let body = STANDARD.decode(body).map_err(|_| KeyError::Broken)?;
        let key = match label {
            "PUBLIC KEY" => spki(&body, alg)?,
            "RSA PUBLIC KEY" => rsa(&body).ok_or(KeyError::Broken)?,
            "CERTIFICATE" => return Err(KeyError::Certificate),
            private if private.ends_with("PRIVATE KEY") => return Err(KeyError::Private),
            _ => continue,
        };
        keys.push(PublicKey { kid: None, key: key.fitting(alg)? });
        if keys.len() > MOST {
            return Err(KeyError::TooMany);
        }
    }
    if keys.is_empty() { Err(KeyError::NoPem) } else { Ok(keys) }
}

/// The keys of a set that are for this algorithm; others are left out.
///
/// # Errors
/// There is none, or one of them is broken.
pub fn keys_from_jwks(text: &str, alg: Algorithm) -> Result<Vec<PublicKey>, KeyError> {
    let set: Value = serde_json::from_str(text).map_err(|_| KeyError::NoSet)?;
    let set = set.get("keys").and_then(Value::as_array).ok_or(KeyError::NoSet)?;
    let mut keys = Vec::new();
    for jwk in set {
        let text = |name| jwk.get(name).and_then(Value::as_str);
        let (kind, curve) = match alg {
            Algorithm::ES256 => ("EC", Some("P-256")),
            Algorithm::ES384 => ("EC", Some("P-384")),
            Algorithm::EdDSA => ("OKP", Some("Ed25519")),
            _ => ("RSA", None),
        };
        let for_this = text("kty") == Some(kind)
            && (curve.is_none() || text("crv") == curve)
            && text("alg").is_none_or(|said| said == alg.as_str())
            && text("use").is_none_or(|said| said == "sig");
        if !for_this {
            continue;
        }
        let bytes = |name| {
            let bytes = text(name).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
            bytes.ok_or(KeyError::Broken)
        };
        let key = match kind {
            "RSA" => Key::Rsa { modulus: unsigned(&bytes("n")?), exponent: unsigned(&bytes("e")?) },
            "EC" => Key::Point([vec![4], bytes("x")?, bytes("y")?].concat()),
            _ => Key::Point(bytes("x")?),
        };
        keys.push(PublicKey { kid: text("kid").map(str::to_owned), key: key.fitting(alg)? });
        if keys.len() > MOST {
            return Err(KeyError::TooMany);
        }
    }
    if keys.is_empty() { Err(KeyError::Other(alg.as_str())) } else { Ok(keys) }
}

impl PublicKey {
    /// Whether a token that names that key may be signed with this one.
    pub(super) fn may_be(&self, kid: Option<&str>) -> bool {
        match (&self.kid, kid) {
            (Some(ours), Some(named)) => ours == named,
            _ => true,
        }
    }

    pub(super) fn verify(&self, alg: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        let point: &dyn signature::VerificationAlgorithm = match alg {
            Algorithm::ES256 => &signature::ECDSA_P256_SHA256_FIXED,
            Algorithm::ES384 => &signature::ECDSA_P384_SHA384_FIXED,
            _ => &signature::ED25519,
        };
        let rsa = match alg {
            Algorithm::RS256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            Algorithm::RS384 => &signature::RSA_PKCS1_2048_8192_SHA384,
            Algorithm::RS512 => &signature::RSA_PKCS1_2048_8192_SHA512,
            Algorithm::PS256 => &signature::RSA_PSS_2048_8192_SHA256,
            Algorithm::PS384 => &signature::RSA_PSS_2048_8192_SHA384,
            _ => &signature::RSA_PSS_2048_8192_SHA512,
        };
        match &self.key {
            Key::Rsa { modulus: n, exponent: e } => {
                signature::RsaPublicKeyComponents { n, e }.verify(rsa, signed, signature).is_ok()
            }
            Key::Point(key) => {
                signature::UnparsedPublicKey::new(point, key).verify(signed, signature).is_ok()
            }
        }
    }
}

/// Whether one of the secrets made a signature; ring compares in constant time.
pub(super) fn verify_secret(
    alg: Algorithm,
    secrets: &[Secret],
    signed: &[u8],
    signature: &[u8],
) -> bool {
    let hash = match alg {
        Algorithm::HS256 => hmac::HMAC_SHA256,
        Algorithm::HS384 => hmac::HMAC_SHA384,
        Algorithm::HS512 => hmac::HMAC_SHA512,
        _ => return false,
    };
    let good = |secret: &Secret| {
        hmac::verify(&hmac::Key::new(hash, secret.bytes()), signed, signature).is_ok()
    };
    secrets.iter().any(good)
}

impl Key {
    fn fitting(self, alg: Algorithm) -> Result<Self, KeyError> {
        let point = match alg {
            Algorithm::ES256 => 65,
            Algorithm::ES384 => 97,
            Algorithm::EdDSA => 32,
            _ => 0,
        };
        match &self {
            Self::Rsa { modulus, .. } if point == 0 => {
                let first = modulus.first().map_or(8, |byte| byte.leading_zeros());
                let bits = (8 * modulus.len()).saturating_sub(usize::try_from(first).unwrap_or(8));
                if (2_048..=8_192).contains(&bits) { Ok(self) } else { Err(KeyError::Size) }
            }
            Self::Point(key) if key.len() == point => Ok(self),
            _ => Err(KeyError::Other(alg.as_str())),
        }
    }
}

/// ring wants numbers without zeroes before them.
fn unsigned(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().skip_while(|byte| *byte == 0).collect()
}

/// A SubjectPublicKeyInfo (RFC 5280, 4.1): which algorithm, and its key in a bit string.
fn spki(bytes: &[u8], alg: Algorithm) -> Result<Key, KeyError> {
    let (info, _) = element(bytes, SEQUENCE).ok_or(KeyError::Broken)?;
    let (kind, rest) = element(info, SEQUENCE).ok_or(KeyError::Broken)?;
    let (key, _) = element(rest, BIT_STRING).ok_or(KeyError::Broken)?;
    // Its first byte counts unused bits.
    let key = key.strip_prefix(&[0]).ok_or(KeyError::Broken)?;
    let (name, parameters) = element(kind, OBJECT_ID).ok_or(KeyError::Broken)?;
    let curve = element(parameters, OBJECT_ID).map(|(curve, _)| curve);
    match (name, curve) {
        (RSA, _) => rsa(key).ok_or(KeyError::Broken),
        (EC, Some(P256)) if alg == Algorithm::ES256 => Ok(Key::Point(key.to_vec())),
        (EC, Some(P384)) if alg == Algorithm::ES384 => Ok(Key::Point(key.to_vec())),
        (ED25519, None) if alg == Algorithm::EdDSA => Ok(Key::Point(key.to_vec())),
        _ => Err(KeyError::Other(alg.as_str())),
    }
}

/// An RSAPublicKey (RFC 8017, A.1.1).
fn rsa(bytes: &[u8]) -> Option<Key> {
    let (numbers, _) = element(bytes, SEQUENCE)?;
    let (modulus, rest) = element(numbers, INTEGER)?;
    let (exponent, _) = element(rest, INTEGER)?;
    Some(Key::Rsa { modulus: unsigned(modulus), exponent: unsigned(exponent) })
}

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;
const INTEGER: u8 = 0x02;
const OBJECT_ID: u8 = 0x06;

const RSA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";
const EC: &[u8] = b"\x2a\x86\x48\xce\x3d\x02\x01";
const P256: &[u8] = b"\x2a\x86\x48\xce\x3d\x03\x01\x07";
const P384: &[u8] = b"\x2b\x81\x04\x00\x22";
const ED25519: &[u8] = b"\x2b\x65\x70";

/// The content of a DER element with that tag, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.strip_prefix(&[tag])?.split_first()?;
    let (length, rest) = match *length {
        short @ 0..=0x7f => (usize::from(short), rest),
        0x81 => {
            let (length, rest) = rest.split_first()?;
            (usize::from(*length), rest)
        }
        0x82 => {
            let (length, rest) = rest.split_first_chunk()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}
