//! Clients that talk too fast, and those that do not.

use super::*;

/// How many of `n` packets, `per_second`, are taken; and whether that was the end.
#[expect(clippy::disallowed_methods, reason = "the origin of simulated time")]
fn taken(rate: u32, per_second: u32, n: u32) -> (u32, bool) {
    let start = Instant::now();
    let mut meter = Meter::default();
    let mut taken = 0;
    for packet in 0..n {
        let at = start + Duration::from_secs(1) * packet / per_second;
        match meter.take(rate, at) {
            Ok(within) => taken += u32::from(within),
            Err(_) => return (taken, true),
        }
    }
    (taken, false)
}

#[test]
fn within_the_rate_everything_is_taken_for_ever() {
    assert_eq!(taken(5, 5, 10_000), (10_000, false));
    assert_eq!(taken(0, 1_000_000, 10_000), (10_000, false));
}

#[test]
fn ten_seconds_worth_at_once_is_taken_and_as_much_again_is_the_end() {
    assert_eq!(taken(5, 1_000_000, 100), (50, false));
    assert_eq!(taken(5, 1_000_000, 101), (50, true));
}

#[test]
fn a_little_too_fast_loses_the_surplus_and_no_more() {
    let (taken, over) = taken(5, 8, 8_000);
    assert!(!over);
    assert!((5_000..=5_100).contains(&taken), "{taken}");
}

#[test]
fn more_than_twice_as_fast_comes_to_an_end() {
    assert!(taken(5, 12, 8_000).1);
}
