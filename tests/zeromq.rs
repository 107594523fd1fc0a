//! The libzmq that the hub is linked with.

#[test]
fn libzmq_is_recent_and_has_curve() {
    assert_eq!(zmq::has("curve"), Some(true));
    assert!(zmq::version() >= (4, 3, 5), "{:?}", zmq::version());
    let pair = zmq::CurveKeyPair::new().unwrap();
    assert_ne!(pair.public_key, pair.secret_key);
}
