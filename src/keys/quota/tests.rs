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
    quota.admit_at_last(now).err().unwrap()
}

#[test]
fn without_limits_everything_is_admitted() {
    let quota = Quota::new(Limits::default());
    let slots: Vec<Slot> = (0..10_000).map(|_| quota.admit_at_last(noon()).unwrap_or_default()).collect();
    assert_eq!(slots.len(), 10_000);
    assert_eq!(quota.left(noon()), Left { rate: None, concurrency: None, daily: None, resets_in: DAY / 2 });
}

#[test]
fn a_slot_is_given_back_when_it_is_dropped() {
    let quota = Quota::new(Limits { concurrency: Some(2), ..Limits::default() });
    let first = quota.admit_at_last(noon()).ok().unwrap();
    let second = quota.admit_at_last(noon()).ok().unwrap();
    let exceeded = Exceeded { limit: Limit::Concurrency, most: 2, window: 1, retry_after: 1 };
    assert_eq!(refused(&quota, noon()), exceeded);
    drop(first);
    assert_eq!(quota.left(noon()).concurrency, Some(1));
    let third = quota.admit_at_last(noon()).ok().unwrap();
    assert_eq!(refused(&quota, noon()), exceeded);
    drop((second, third));
    assert_eq!(quota.left(noon()).concurrency, Some(2));
}

#[test]
fn what_was_not_sent_is_none_of_its_day_and_keeps_its_place() {
    let limits = Limits { concurrency: Some(2), daily_quota: Some(2), ..Limits::default() };
    let quota = Quota::new(limits);
    let mut slot = quota.admit_at_last(noon()).ok().unwrap();
    assert_eq!((quota.left(noon()).daily, quota.left(noon()).concurrency), (Some(1), Some(1)));
    slot.return_to_day();
    slot.return_to_day();
    assert_eq!((quota.left(noon()).daily, quota.left(noon()).concurrency), (Some(2), Some(1)), "once");
    drop(slot);
    assert_eq!((quota.left(noon()).daily, quota.left(noon()).concurrency), (Some(2), Some(2)));
    let mut late = quota.admit_at_last(noon()).ok().unwrap();
    let next = noon() + Duration::from_secs(DAY);
    drop(quota.admit_at_last(next).ok().unwrap());
    late.return_to_day();
    assert_eq!(quota.day_count().count, 1, "the day after has lost nothing by it");
}

#[test]
fn a_day_ends_at_midnight_in_utc() {
    let quota = Quota::new(Limits { daily_quota: Some(2), ..Limits::default() });
    let last_second = at(20_001 * DAY - 1);
    assert!(quota.admit_at_last(noon()).is_ok() && quota.admit_at_last(last_second).is_ok());
    let exceeded = Exceeded { limit: Limit::Daily, most: 2, window: DAY, retry_after: 1 };
    assert_eq!(refused(&quota, last_second), exceeded);
    assert_eq!(refused(&quota, noon()).retry_after, DAY / 2);
    let midnight = at(20_001 * DAY);
    assert_eq!(quota.left(midnight).daily, Some(2));
    assert!(quota.admit_at_last(midnight).is_ok());
    assert_eq!(quota.day_count(), DayCount { day: 20_001, count: 1 });
}

#[test]
fn a_clock_that_steps_back_over_midnight_begins_no_day_anew() {
    let quota = Quota::new(Limits { daily_quota: Some(2), ..Limits::default() });
    let midnight = at(20_001 * DAY);
    let before = at(20_001 * DAY - 10);
    assert!(quota.admit_at_last(midnight).is_ok() && quota.admit_at_last(before).is_ok());
    assert_eq!(quota.day_count(), DayCount { day: 20_001, count: 2 });
    assert_eq!(refused(&quota, before).retry_after, DAY + 10);
    assert_eq!((quota.left(before).daily, quota.left(before).resets_in), (Some(0), DAY + 10));
    assert_eq!(refused(&quota, midnight).limit, Limit::Daily);
}

#[test]
fn what_is_refused_uses_nothing_up() {
    let quota = Quota::new(Limits { rate: rate(1, 2), concurrency: Some(3), daily_quota: Some(10) });
    let slots = [quota.admit_at_last(noon()).ok().unwrap(), quota.admit_at_last(noon()).ok().unwrap()];
    for _ in 0..5 {
        let exceeded = refused(&quota, noon());
        assert_eq!((exceeded.limit, exceeded.most, exceeded.window), (Limit::Rate, 1, 3600));
        assert!((3590..=3600).contains(&exceeded.retry_after), "{exceeded:?}");
    }
    let left = quota.left(noon());
    assert_eq!((left.rate, left.concurrency, left.daily), (Some(0), Some(1), Some(8)));
    drop(slots);
    let daily = Quota::new(Limits { rate: rate(1, 2), concurrency: None, daily_quota: Some(1) });
    assert!(daily.admit_at_last(noon()).is_ok());
    assert_eq!(refused(&daily, noon()).limit, Limit::Daily);
    assert_eq!(daily.left(noon()).rate, Some(1), "the rate was not touched");
}

#[test]
fn a_reload_forgets_nothing_of_what_was_used() {
    let limits = Limits { rate: rate(1, 2), concurrency: Some(1), daily_quota: Some(5) };
    let before = Quota::new(limits.clone());
    let slot = before.admit_at_last(noon()).ok().unwrap();
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
    assert!(quota.admit_at_last(noon()).is_ok());
    assert_eq!(quota.day_count(), DayCount { day: 20_000, count: 91 });
}

/// What is given of a day by what stands for a store.
fn give(wish: &Wish, given: &mut u64, now: SystemTime) {
    let want = wish.want(now);
    let before = *given + want.overdrawn;
    let granted = want.more.min(want.most.saturating_sub(before));
    *given = before + granted;
    wish.take(want, DayCount { day: want.day, count: *given }, granted);
}

/// A gateway's part of the day of a key.
struct Shared {
    quota: Quota,
    allotments: Arc<Allotments>,
}

impl Shared {
    fn of(most: u64) -> Self {
        let allotments = Arc::<Allotments>::default();
        let limits = Limits { daily_quota: Some(most), ..Limits::default() };
        let name = KeyName::parse("a").unwrap();
        Self { quota: Quota::new(limits).shared(name, Arc::clone(&allotments)), allotments }
    }

    /// Admits a request that may wait for what is given at once.
    fn ask(&self, given: &mut u64, now: SystemTime) -> bool {
        loop {
            match self.quota.admit(now) {
                Ok(Admission::Given(_)) => return true,
                Ok(Admission::Awaited(_wait)) => give(&self.quota.wish().unwrap(), given, now),
                Err(exceeded) => {
                    assert_eq!(exceeded.limit, Limit::Daily);
                    return false;
                }
            }
        }
    }

    fn left(&self, now: SystemTime) -> u64 {
        self.quota.left(now).daily.unwrap()
    }
}

#[test]
fn nothing_of_a_shared_day_is_used_before_it_is_given() {
    let shared = Shared::of(1000);
    assert!(matches!(shared.quota.admit(noon()), Ok(Admission::Awaited(_))));
    assert_eq!(shared.quota.day_count().at(noon()).count, 0);
    let mut given = 0;
    give(&shared.quota.wish().unwrap(), &mut given, noon());
    assert_eq!(given, 10, "a hundredth");
    assert_eq!((0..20).filter(|_| matches!(shared.quota.admit(noon()), Ok(Admission::Given(_)))).count(), 10);
    assert_eq!(shared.left(noon()), 990);
    let tomorrow = at(20_001 * DAY);
    assert!(matches!(shared.quota.admit(tomorrow), Ok(Admission::Awaited(_))), "another day is given anew");
}

#[test]
fn gateways_that_share_a_day_never_admit_more_than_its_quota() {
    let (one, two, mut given) = (Shared::of(500), Shared::of(500), 0);
    let mut admitted = 0;
    for number in 0..2000 {
        let shared = if number % 3 == 0 { &one } else { &two };
        admitted += u64::from(shared.ask(&mut given, noon()));
        assert!(admitted <= given && given <= 500);
    }
    assert_eq!(admitted, 500);
    assert_eq!((one.left(noon()), two.left(noon())), (0, 0));
}

#[test]
fn what_is_left_never_grows_by_a_crash() {
    let mut given = 0;
    let (mut admitted, mut left) = (0, 10_000);
    for _ in 0..20 {
        // A gateway that begins anew knows what was given, and nothing of what was used.
        let shared = Shared::of(10_000);
        shared.quota.restore(DayCount { day: 20_000, count: given });
        assert!(shared.left(noon()) <= left, "{} after {left}", shared.left(noon()));
        admitted += (0..257).filter(|_| shared.ask(&mut given, noon())).count() as u64;
        left = shared.left(noon());
        assert!(10_000 - left >= admitted && 10_000 - admitted <= left + 20 * 100, "a hundredth each time");
    }
}

#[test]
fn what_was_not_used_is_given_back() {
    let (shared, mut given) = (Shared::of(1000), 0);
    assert!(shared.ask(&mut given, noon()));
    let rest = shared.quota.wish().unwrap().rest(noon());
    assert_eq!(rest, DayCount { day: 20_000, count: 9 });
    assert!(matches!(shared.quota.admit(noon()), Ok(Admission::Awaited(_))), "nothing is given any more");
}

#[test]
fn while_nothing_can_be_given_requests_go_ahead_and_are_counted_later() {
    let (shared, mut given) = (Shared::of(1000), 0);
    assert!(matches!(shared.quota.admit(noon()), Ok(Admission::Awaited(_))));
    shared.allotments.lend(Vec::new());
    assert_eq!((0..1100).filter(|_| matches!(shared.quota.admit(noon()), Ok(Admission::Given(_)))).count(), 1000);
    shared.allotments.give();
    give(&shared.quota.wish().unwrap(), &mut given, noon());
    assert_eq!((given, shared.left(noon())), (1000, 0));
    let patient = Shared::of(1000);
    assert!(patient.quota.admit_at_last(noon()).is_ok(), "who has waited enough goes ahead");
    assert_eq!(patient.quota.wish().unwrap().want(noon()).overdrawn, 1);
}

#[tokio::test]
async fn who_waits_is_told_when_there_is_more() {
    let shared = Shared::of(1000);
    let now = SystemTime::now();
    let later = || tokio::time::Instant::now() + Duration::from_secs(60);
    let waits = (0..30).map(|_| match shared.quota.admit(now) {
        Ok(Admission::Awaited(wait)) => wait,
        _ => panic!("nothing was given"),
    });
    let waits: Vec<Wait> = waits.collect();
    let wish = shared.allotments.wishes().await.remove(0);
    assert_eq!(wish.want(now).more, 30, "one for each that waits");
    let mut given = 0;
    let answer = async {
        tokio::task::yield_now().await;
        give(&wish, &mut given, now);
        shared.allotments.give();
    };
    let told = futures_util::future::join_all(waits.into_iter().map(|wait| wait.over(later())));
    let (told, ()) = tokio::join!(told, answer);
    assert!(told.len() == 30 && told.iter().all(|told| *told));
    let Ok(Admission::Awaited(wait)) = Shared::of(9).quota.admit(now) else { panic!("nothing was given") };
    assert!(!wait.over(tokio::time::Instant::now()).await, "nobody has told it anything");
}

#[test]
fn threads_share_a_day() {
    let quota = Quota::new(Limits { daily_quota: Some(1000), concurrency: Some(4), ..Limits::default() });
    let admitted = || (0..1000).filter(|_| quota.admit_at_last(noon()).is_ok()).count();
    let sum: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(admitted)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(sum, 1000);
    assert_eq!(quota.left(noon()).concurrency, Some(4));
}
