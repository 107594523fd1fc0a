//! Why somebody is not known: one vocabulary for wire, log and metric.

use std::fmt;

use thiserror::Error;

/// The reason of a refusal.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The request carries no such cookie.
    NoCookie,
    /// The cookie is not in the format that is expected.
    Malformed,
    /// No secret made this signature.
    BadSignature,
    /// The session id is not one that the application makes.
    BadId,
    /// Two cookies of that name contradict each other.
    Ambiguous,
    /// The store has no such session.
    NoSession,
    /// The session is over.
    Expired,
    /// The ticket or token is of a time to come.
    NotYetValid,
    /// The token is another issuer's.
    WrongIssuer,
    /// The token is for somebody else.
    WrongAudience,
    /// The stored value cannot be read.
    Corrupt,
    /// It nests too deep.
    TooDeep,
    /// It is, or becomes, too large.
    TooLarge,
    /// The session is fine, and names no user.
    NoUser,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 14] = [
        Self::NoCookie,
        Self::Malformed,
        Self::BadSignature,
        Self::BadId,
        Self::Ambiguous,
        Self::NoSession,
        Self::Expired,
        Self::NotYetValid,
        Self::WrongIssuer,
        Self::WrongAudience,
        Self::Corrupt,
        Self::TooDeep,
        Self::TooLarge,
        Self::NoUser,
    ];

    /// The name on the wire, in the log and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoCookie => "no_cookie",
            Self::Malformed => "malformed",
            Self::BadSignature => "bad_signature",
            Self::BadId => "bad_id",
            Self::Ambiguous => "ambiguous",
            Self::NoSession => "no_session",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::WrongIssuer => "wrong_issuer",
            Self::WrongAudience => "wrong_audience",
            Self::Corrupt => "corrupt",
            Self::TooDeep => "too_deep",
            Self::TooLarge => "too_large",
            Self::NoUser => "no_user",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
