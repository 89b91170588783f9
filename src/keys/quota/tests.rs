//! Tests of the limits of a key.

use std::num::NonZeroU32;

use super::*;
use crate::config::Per;

fn at(second: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(second)
}

fn noon() -> SystemTime {
    at(20_000 * DAY + DAY / 2)
}

fn rate(count: u32, burst: u32) -> Option<config::Rate> {
    let [count, burst] = [count, burst].map(|number| NonZeroU32::new(number).unwrap());
    Some(config::Rate { count, per: Per::Hour, burst })
}

fn refused(quota: &Quota, now: SystemTime) -> Exceeded {
    quota.admit(now).err().unwrap()
}

#[test]
fn without_limits_everything_is_admitted() {
    let quota = Quota::new(Limits::default());
    let slots: Vec<Slot> = (0..10_000).map(|_| quota.admit(noon()).unwrap_or_default()).collect();
    assert_eq!(slots.len(), 10_000);
    assert_eq!(quota.left(noon()), Left { rate: None, concurrency: None, daily: None, resets_in: DAY / 2 });
}

#[test]
fn a_slot_is_given_back_when_it_is_dropped() {
    let quota = Quota::new(Limits { concurrency: Some(2), ..Limits::default() });
    let first = quota.admit(noon()).ok().unwrap();
    let second = quota.admit(noon()).ok().unwrap();
    let exceeded = Exceeded { limit: Limit::Concurrency, most: 2, window: 1, retry_after: 1 };
    assert_eq!(refused(&quota, noon()), exceeded);
    drop(first);
    assert_eq!(quota.left(noon()).concurrency, Some(1));
    let third = quota.admit(noon()).ok().unwrap();
    assert_eq!(refused(&quota, noon()), exceeded);
    drop((second, third));
    assert_eq!(quota.left(noon()).concurrency, Some(2));
}

#[test]
fn a_day_ends_at_midnight_in_utc() {
    let quota = Quota::new(Limits { daily_quota: Some(2), ..Limits::default() });
    let last_second = at(20_001 * DAY - 1);
    assert!(quota.admit(noon()).is_ok() && quota.admit(last_second).is_ok());
    let exceeded = Exceeded { limit: Limit::Daily, most: 2, window: DAY, retry_after: 1 };
    assert_eq!(refused(&quota, last_second), exceeded);
    assert_eq!(refused(&quota, noon()).retry_after, DAY / 2);
    let midnight = at(20_001 * DAY);
    assert_eq!(quota.left(midnight).daily, Some(2));
    assert!(quota.admit(midnight).is_ok());
    assert_eq!(quota.day_count(), DayCount { day: 20_001, count: 1 });
}

#[test]
fn a_clock_that_steps_back_over_midnight_begins_no_day_anew() {
    let quota = Quota::new(Limits { daily_quota: Some(2), ..Limits::default() });
    let midnight = at(20_001 * DAY);
    let before = at(20_001 * DAY - 10);
    assert!(quota.admit(midnight).is_ok() && quota.admit(before).is_ok());
    assert_eq!(quota.day_count(), DayCount { day: 20_001, count: 2 });
    assert_eq!(refused(&quota, before).retry_after, DAY + 10);
    assert_eq!((quota.left(before).daily, quota.left(before).resets_in), (Some(0), DAY + 10));
    assert_eq!(refused(&quota, midnight).limit, Limit::Daily);
}

#[test]
fn what_is_refused_uses_nothing_up() {
    let quota = Quota::new(Limits { rate: rate(1, 2), concurrency: Some(3), daily_quota: Some(10) });
    let slots = [quota.admit(noon()).ok().unwrap(), quota.admit(noon()).ok().unwrap()];
    for _ in 0..5 {
        let exceeded = refused(&quota, noon());
        assert_eq!((exceeded.limit, exceeded.most, exceeded.window), (Limit::Rate, 1, 3600));
        assert!((3590..=3600).contains(&exceeded.retry_after), "{exceeded:?}");
    }
    let left = quota.left(noon());
    assert_eq!((left.rate, left.concurrency, left.daily), (Some(0), Some(1), Some(8)));
    drop(slots);
    let daily = Quota::new(Limits { rate: rate(1, 2), concurrency: None, daily_quota: Some(1) });
    assert!(daily.admit(noon()).is_ok());
    assert_eq!(refused(&daily, noon()).limit, Limit::Daily);
    assert_eq!(daily.left(noon()).rate, Some(1), "the rate was not touched");
}

#[test]
fn a_reload_forgets_nothing_of_what_was_used() {
    let limits = Limits { rate: rate(1, 2), concurrency: Some(1), daily_quota: Some(5) };
    let before = Quota::new(limits.clone());
    let slot = before.admit(noon()).ok().unwrap();
    let mut same = Quota::new(limits.clone());
    same.in_place_of(&before);
    let left = same.left(noon());
    assert_eq!((left.rate, left.concurrency, left.daily), (Some(1), Some(0), Some(4)));
    let mut wider = Quota::new(Limits { rate: rate(2, 2), concurrency: Some(2), daily_quota: Some(6) });
    wider.in_place_of(&same);
    let left = wider.left(noon());
    assert_eq!((left.rate, left.concurrency, left.daily), (Some(2), Some(1), Some(5)), "another rate begins anew");
    drop(slot);
    assert_eq!(wider.left(noon()).concurrency, Some(2));
}

#[test]
fn counts_are_taken_over_and_never_go_down() {
    let quota = Quota::new(Limits { daily_quota: Some(100), ..Limits::default() });
    quota.restore(DayCount { day: 20_000, count: 90 });
    assert_eq!(quota.left(noon()).daily, Some(10));
    quota.restore(DayCount { day: 20_000, count: 7 });
    quota.restore(DayCount { day: 19_999, count: 99 });
    assert_eq!(quota.left(noon()).daily, Some(10));
    assert!(quota.admit(noon()).is_ok());
    assert_eq!(quota.day_count(), DayCount { day: 20_000, count: 91 });
}

#[test]
fn threads_share_a_day() {
    let quota = Quota::new(Limits { daily_quota: Some(1000), concurrency: Some(4), ..Limits::default() });
    let admitted = || (0..1000).filter(|_| quota.admit(noon()).is_ok()).count();
    let sum: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(admitted)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(sum, 1000);
    assert_eq!(quota.left(noon()).concurrency, Some(4));
}
