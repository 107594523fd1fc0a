//! JSON Web Tokens (RFC 7519), signed; those that are encrypted are none. The algorithm is pinned: what a
//! token says of it is compared, never followed.

mod key;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::{Reason, Secret, unwrap};
pub use key::{KeyError, PublicKey, keys_from_jwks, keys_from_pem};

/// What an application's tokens must be.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// The one algorithm.
    pub alg: Algorithm,
    /// With a public-key algorithm, who may have signed.
    pub keys: Vec<PublicKey>,
    /// `iss`, unless this is empty.
    pub issuer: String,
    /// `aud`, or one of it. Empty: a token for somebody in particular is not for us.
    pub audience: String,
    /// How far clocks may differ.
    pub leeway: Duration,
}

/// A signature algorithm of RFC 7518 or RFC 8037.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "their names are those of the RFC")]
pub enum Algorithm {
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Self; 12] = [
        Self::HS256,
        Self::HS384,
        Self::HS512,
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::EdDSA,
    ];

    /// Its name in `alg`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HS256 => "HS256",
            Self::HS384 => "HS384",
            Self::HS512 => "HS512",
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::EdDSA => "EdDSA",
        }
    }

    /// Whether whoever can verify can also sign: its keys are secrets.
    pub const fn is_symmetric(self) -> bool {
        matches!(self, Self::HS256 | Self::HS384 | Self::HS512)
    }
}

/// A token that is genuine and of this time.
#[derive(Debug, PartialEq)]
pub(crate) struct Claims {
    pub(crate) content: Value,
    /// When it is over, since 1970; nothing, if beyond any clock.
    pub(crate) expires: Option<Duration>,
}

/// The claims of a token: its form first, then its signature, then what it claims.
///
/// # Errors
/// It is not of that form, nobody of ours signed it, or it is not for us or not of this time.
pub(crate) fn verify(
    token: &str,
    secrets: &[Secret],
    tokens: &Tokens,
    now: Duration,
) -> Result<Claims, Reason> {
    if token.len() > LONGEST {
        return Err(Reason::TooLarge);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(Reason::Malformed)?;
    let (header, claims) = signed.split_once('.').ok_or(Reason::Malformed)?;
    let header = object(header)?;
    // What must be understood is not: there is no extension that we know (RFC 7515, 4.1.11).
    if header.get("alg").and_then(Value::as_str) != Some(tokens.alg.as_str())
        || header.get("crit").is_some()
    {
        return Err(Reason::BadSignature);
    }
    let signature = decode(signature).ok_or(Reason::BadSignature)?;
    let verified = if tokens.alg.is_symmetric() {
        key::verify_secret(tokens.alg, secrets, signed.as_bytes(), &signature)
    } else {
        let kid = header.get("kid").and_then(Value::as_str);
        let mut keys = tokens.keys.iter().filter(|key| key.may_be(kid));
        keys.any(|key| key.verify(tokens.alg, signed.as_bytes(), &signature))
    };
    if !verified {
        return Err(Reason::BadSignature);
    }
    let claims = object(claims)?;
    let expires = of_this_time(&claims, tokens.leeway, now)?;
    for_us(&claims, tokens)?;
    Ok(Claims { content: claims, expires })
}

/// Bytes; more than any cookie, or header of HTTP.
const LONGEST: usize = 16 << 10;

fn decode(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}

fn object(part: &str) -> Result<Value, Reason> {
    let bytes = decode(part).ok_or(Reason::Malformed)?;
    match unwrap::json(&bytes) {
        Ok(value) if value.is_object() => Ok(value),
        Err(Reason::TooDeep) => Err(Reason::TooDeep),
        _ => Err(Reason::Malformed),
    }
}

/// When it is over. A token without that could not be taken back by anybody.
fn of_this_time(
    claims: &Value,
    leeway: Duration,
    now: Duration,
) -> Result<Option<Duration>, Reason> {
    let time = |name| match claims.get(name) {
        None => Ok(None),
        Some(time) => time.as_f64().map(Some).ok_or(Reason::Malformed),
    };
    let (now, leeway) = (now.as_secs_f64(), leeway.as_secs_f64());
    let expires = time("exp")?.ok_or(Reason::Expired)?;
    if now >= expires + leeway {
        return Err(Reason::Expired);
    }
    for name in ["nbf", "iat"] {
        if time(name)?.is_some_and(|begins| begins > now + leeway) {
            return Err(Reason::NotYetValid);
        }
    }
    Ok(Duration::try_from_secs_f64(expires + leeway).ok())
}

fn for_us(claims: &Value, tokens: &Tokens) -> Result<(), Reason> {
    let issuer = claims.get("iss").and_then(Value::as_str);
    if !tokens.issuer.is_empty() && issuer != Some(&tokens.issuer) {
        return Err(Reason::WrongIssuer);
    }
    let ours = match claims.get("aud") {
        None => tokens.audience.is_empty(),
        Some(Value::Array(all)) if all.is_empty() => tokens.audience.is_empty(),
        Some(_) if tokens.audience.is_empty() => false,
        Some(Value::Array(all)) => {
            all.iter().all(Value::is_string) && all.contains(&Value::from(&*tokens.audience))
        }
        Some(one) => one.as_str() == Some(&tokens.audience),
    };
    if ours { Ok(()) } else { Err(Reason::WrongAudience) }
}

#[cfg(test)]
mod tests;
