//! What `whoami -v` says of a step: what was looked at, and why it was not good enough. Settings are shown;
//! what came from the client, the store or a file of secrets is not.

use std::net::IpAddr;

use identity::{IdFormat, Reason, Recipe, Tickets};

/// How a cookie or token is judged.
pub(super) fn judged_by(recipe: &Recipe) -> String {
    let secrets = match recipe.secrets.len() {
        1 => "1 secret".to_owned(),
        several => format!("{several} secrets"),
    };
    match &recipe.id {
        IdFormat::Raw => "id raw, unsigned".to_owned(),
        IdFormat::Beaker if recipe.secrets.is_empty() => "id beaker, unsigned".to_owned(),
        IdFormat::Beaker => format!("id beaker, {secrets}"),
        IdFormat::BeakerCookie => format!("id beaker_cookie, {secrets}"),
        IdFormat::Express => format!("id express, {secrets}"),
        IdFormat::Itsdangerous { salt } => format!("id itsdangerous, {secrets}, salt {salt:?}"),
        IdFormat::AuthTkt(tickets) => {
            let bound = if tickets.include_ip { "to its address" } else { "to no address" };
            format!("id auth_tkt, {secrets}, digest {:?}, bound {bound}", tickets.digest)
        }
        IdFormat::Jwt(tokens) if tokens.alg.is_symmetric() => {
            format!("id jwt, {secrets}, alg {}", tokens.alg.as_str())
        }
        IdFormat::Jwt(tokens) => {
            format!("id jwt, public keys: {}, alg {}", tokens.keys.len(), tokens.alg.as_str())
        }
    }
}

/// Why it is refused, with the settings that decide it.
pub(super) fn why(reason: Reason, recipe: &Recipe, remote: Option<IpAddr>) -> String {
    let why = match (reason, &recipe.id) {
        (Reason::NoCookie, _) => "the client shows none of that name".to_owned(),
        (Reason::Ambiguous, _) => "it is there twice, and they differ".to_owned(),
        (Reason::Malformed, IdFormat::Beaker | IdFormat::BeakerCookie) => {
            "it should begin with 40 hex digits".to_owned()
        }
        (Reason::Malformed, IdFormat::Express) => "it should be s:<id>.<signature>".to_owned(),
        (Reason::Malformed, IdFormat::Itsdangerous { .. }) => {
            "it should be <id>.<signature>; without a signer, say id = \"raw\"".to_owned()
        }
        (Reason::Malformed, IdFormat::AuthTkt(Tickets { base64, .. })) => {
            format!("no ticket with this digest and base64 = {base64}")
        }
        (Reason::Malformed, IdFormat::Jwt(_)) => {
            "no JSON Web Token, or one of its times is no number".to_owned()
        }
        (Reason::BadSignature, IdFormat::AuthTkt(Tickets { include_ip: true, .. })) => match remote
        {
            Some(remote) => format!("nobody with these secrets made it for {remote}"),
            None => "it is for one address; say the client's with --remote-ip".to_owned(),
        },
        (Reason::BadSignature, IdFormat::Jwt(_)) => {
            "none of these keys made it, or with another alg, or it has a crit header".to_owned()
        }
        (Reason::BadSignature, _) => "nobody with these secrets made it".to_owned(),
        (Reason::BadId, _) => {
            let pattern = recipe.pattern.as_ref().map(ToString::to_string).unwrap_or_default();
            format!("the id does not match {pattern:?}, or is no id")
        }
        (Reason::Expired, IdFormat::Jwt(_)) => "its exp is over, or it has none".to_owned(),
        (Reason::Expired, _) => format!(
            "timeout {:?}, expires at {:?}: that time is over",
            recipe.timeout, recipe.expires
        ),
        (Reason::NotYetValid, _) => "it is of a time to come".to_owned(),
        (Reason::WrongIssuer, IdFormat::Jwt(tokens)) => format!("iss is not {:?}", tokens.issuer),
        (Reason::WrongAudience, IdFormat::Jwt(tokens)) if tokens.audience.is_empty() => {
            "it has an aud, and `audience` does not say who we are".to_owned()
        }
        (Reason::WrongAudience, IdFormat::Jwt(tokens)) => {
            format!("aud is not {:?}", tokens.audience)
        }
        (Reason::NoUser, _) => format!("no name at {:?}", recipe.user),
        (Reason::Corrupt, _) => "a layer, or the time at `accessed` or `expires`".to_owned(),
        _ => return String::new(),
    };
    let how = judged_by(recipe);
    match reason {
        Reason::Malformed | Reason::BadSignature => format!(": {why} ({how})"),
        _ => format!(": {why}"),
    }
}
