//! Tokens with odd claims, headers and keys.

use super::*;

const NOW: u64 = 1_767_225_600;

fn tokens() -> Tokens {
    Tokens {
        alg: Algorithm::HS256,
        keys: Vec::new(),
        issuer: String::new(),
        audience: String::new(),
        leeway: Duration::from_secs(60),
    }
}

fn signed(header: &str, claims: &str) -> String {
    let signed = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"secret");
    let signature = ring::hmac::sign(&key, signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn judge(token: &str, tokens: &Tokens) -> Result<Claims, Reason> {
    let secrets = ["new", "secret"].map(|one| Secret::new(one.as_bytes()).unwrap());
    verify(token, &secrets, tokens, Duration::from_secs(NOW))
}

fn refused(claims: &str, tokens: &Tokens) -> Option<Reason> {
    judge(&signed(r#"{"alg":"HS256"}"#, claims), tokens).err()
}

#[test]
fn time_is_a_number_and_now() {
    let at = |shift: i64| NOW.checked_add_signed(shift).unwrap();
    let cases = [
        (format!(r#"{{"exp":{}}}"#, at(1)), None),
        (format!(r#"{{"exp":{}}}"#, at(-59)), None),
        (format!(r#"{{"exp":{}}}"#, at(-60)), Some(Reason::Expired)),
        (format!(r#"{{"exp":{}.5}}"#, at(-60)), None),
        (r#"{"exp":1e300}"#.to_owned(), None),
        (r#"{"exp":1e400}"#.to_owned(), Some(Reason::Malformed)),
        (r#"{"exp":-1}"#.to_owned(), Some(Reason::Expired)),
        (r#"{"exp":"4102444800"}"#.to_owned(), Some(Reason::Malformed)),
        (r#"{"exp":null}"#.to_owned(), Some(Reason::Malformed)),
        (r#"{"exp":true}"#.to_owned(), Some(Reason::Malformed)),
        (r#"{"exp":[4102444800]}"#.to_owned(), Some(Reason::Malformed)),
        ("{}".to_owned(), Some(Reason::Expired)),
        ("[]".to_owned(), Some(Reason::Malformed)),
        (format!(r#"{{"exp":4102444800,"nbf":{}}}"#, at(60)), None),
        (format!(r#"{{"exp":4102444800,"nbf":{}}}"#, at(61)), Some(Reason::NotYetValid)),
        (format!(r#"{{"exp":4102444800,"iat":{}}}"#, at(61)), Some(Reason::NotYetValid)),
        (r#"{"exp":4102444800,"nbf":"1"}"#.to_owned(), Some(Reason::Malformed)),
    ];
    for (claims, reason) in cases {
        assert_eq!(refused(&claims, &tokens()), reason, "{claims}");
    }
    let claims = judge(&signed(r#"{"alg":"HS256"}"#, r#"{"exp":1767225700}"#), &tokens()).unwrap();
    assert_eq!(claims.expires, Some(Duration::from_secs(1_767_225_760)));
}

#[test]
fn token_for_somebody_else_is_not_for_us() {
    let ours = Tokens { issuer: "us".to_owned(), audience: "hub".to_owned(), ..tokens() };
    let wrong = Some(Reason::WrongAudience);
    let cases = [
        (r#""iss":"us","aud":"hub""#, None),
        (r#""iss":"us","aud":["x","hub"]"#, None),
        (r#""iss":"us","aud":"hub ""#, wrong),
        (r#""iss":"us","aud":["x"]"#, wrong),
        (r#""iss":"us","aud":["hub",1]"#, wrong),
        (r#""iss":"us","aud":{"hub":1}"#, wrong),
        (r#""iss":"us""#, wrong),
        (r#""iss":"us","aud":null"#, wrong),
        (r#""iss":["us"],"aud":"hub""#, Some(Reason::WrongIssuer)),
        (r#""aud":"hub""#, Some(Reason::WrongIssuer)),
    ];
    for (claims, reason) in cases {
        assert_eq!(
            refused(&format!(r#"{{"exp":4102444800,{claims}}}"#), &ours),
            reason,
            "{claims}"
        );
    }
    // Nobody said who we are: then only a token for everybody is for us.
    assert_eq!(refused(r#"{"exp":4102444800,"aud":"hub"}"#, &tokens()), wrong);
    assert_eq!(refused(r#"{"exp":4102444800,"iss":"x","aud":[]}"#, &tokens()), None);
}

#[test]
fn header_chooses_nothing() {
    let claims = r#"{"exp":4102444800}"#;
    for header in [
        r#"{"alg":"none"}"#,
        r#"{"alg":"hs256"}"#,
        r#"{"alg":"HS512"}"#,
        r#"{"alg":["HS256"]}"#,
        "{}",
        r#"{"alg":"HS256","crit":[]}"#,
        r#"{"alg":"HS256","crit":["exp"]}"#,
    ] {
        assert_eq!(
            judge(&signed(header, claims), &tokens()),
            Err(Reason::BadSignature),
            "{header}"
        );
    }
    let jku = r#"{"alg":"HS256","kid":"../x","jku":"https://evil","jwk":{"k":"AAAA"}}"#;
    assert!(judge(&signed(jku, claims), &tokens()).is_ok());
}

#[test]
fn form_is_strict() {
    let good = signed(r#"{"alg":"HS256"}"#, r#"{"exp":4102444800}"#);
    assert!(judge(&good, &tokens()).is_ok());
    for (at, part) in good.split('.').enumerate() {
        let changed = |to: &str| good.replace(part, to);
        for to in [String::new(), format!("{part}="), format!("{part}A"), format!(" {part}")] {
            assert!(judge(&changed(&to), &tokens()).is_err(), "part {at}: {to:?}");
        }
    }
    for bad in ["", ".", "..", "...", "a.b", &format!("{good}."), &format!(".{good}"), "é.é.é"] {
        assert!(judge(bad, &tokens()).is_err(), "{bad}");
    }
    let long =
        signed(r#"{"alg":"HS256"}"#, &format!("{{\"exp\":4102444800}}{}", " ".repeat(20_000)));
    assert_eq!(judge(&long, &tokens()), Err(Reason::TooLarge));
    let deep = signed(r#"{"alg":"HS256"}"#, &format!("{}{}", "[".repeat(200), "]".repeat(200)));
    assert_eq!(judge(&deep, &tokens()), Err(Reason::TooDeep));
}

#[test]
fn files_hold_keys_for_the_algorithm_or_a_mistake() {
    let vectors = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors");
    let read = |name: &str| std::fs::read_to_string(format!("{vectors}/{name}")).unwrap();
    let (rsa, p256, set) = (read("jwt_rsa.pem"), read("jwt_p256.pem"), read("jwt_set.json"));
    let pem = |text: &str, alg| keys_from_pem(text, alg).map(|keys| keys.len());
    let jwks = |text: &str, alg| keys_from_jwks(text, alg).map(|keys| keys.len());
    assert_eq!(pem(&rsa, Algorithm::RS256), Ok(1));
    assert_eq!(pem(&format!("{rsa}\n{rsa}"), Algorithm::PS512), Ok(2));
    assert_eq!(pem(&rsa, Algorithm::ES256), Err(KeyError::Other("ES256")));
    assert_eq!(pem(&p256, Algorithm::RS256), Err(KeyError::Other("RS256")));
    assert_eq!(pem(&p256, Algorithm::ES384), Err(KeyError::Other("ES384")));
    assert_eq!(pem("", Algorithm::RS256), Err(KeyError::NoPem));
    assert_eq!(pem(&rsa.replace("PUBLIC", "PRIVATE"), Algorithm::RS256), Err(KeyError::Private));
    assert_eq!(
        pem(&rsa.replace("PUBLIC KEY", "CERTIFICATE"), Algorithm::RS256),
        Err(KeyError::Certificate)
    );
    for cut in 1..rsa.len() {
        let (kept, lost) = rsa.split_at(cut);
        // Only of its last line, the end may be missing.
        assert!(pem(kept, Algorithm::RS256).is_err() || lost.len() < 24, "{cut}");
    }
    assert_eq!(jwks(&set, Algorithm::RS256), Ok(2));
    assert_eq!(jwks(&set, Algorithm::ES256), Ok(1));
    assert_eq!(jwks(&set, Algorithm::EdDSA), Err(KeyError::Other("EdDSA")));
    assert_eq!(jwks("{}", Algorithm::RS256), Err(KeyError::NoSet));
    let small = r#"{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}"#;
    assert_eq!(jwks(small, Algorithm::RS256), Err(KeyError::Size));
}
