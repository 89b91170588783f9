//! One limit against an upstream that counts by the book: never one request too many, and few too few.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn reading(limit: u32, remaining: u32, milliseconds: u64) -> Reading {
    let exactness = if milliseconds.is_multiple_of(1_000) { Exactness::Seconds } else { Exactness::Fraction };
    Reading { limit, remaining, reset: ms(milliseconds), exactness }
}

/// A budget and a clock that begins at zero.
struct Bench {
    budget: Budget,
    zero: Instant,
}

impl Bench {
    fn new() -> Self {
        Self { budget: Budget::unknown(), zero: Instant::now() }
    }

    fn room(&mut self, at: u64) -> u32 {
        self.budget.room(self.zero + ms(at))
    }

    fn trip(&self, sent: u64, back: u64) -> Trip {
        Trip::noted(self.zero + ms(sent), self.zero + ms(back))
    }

    /// A request that was begun is answered.
    fn answer(&mut self, sent: u64, back: u64, reading: Reading) {
        let trip = self.trip(sent, back);
        self.budget.end_told(reading, trip);
    }

    fn exceed(&mut self, sent: u64, back: u64, wait: Option<u64>) {
        self.budget.exceed(wait.map(ms), None, None, self.trip(sent, back));
        self.budget.give_back();
    }
}

#[test]
fn what_is_not_known_bounds_nothing() {
    let mut bench = Bench::new();
    assert_eq!(bench.room(0), u32::MAX);
    bench.budget.begin();
    bench.budget.end_untold();
    assert_eq!(bench.room(0), u32::MAX);
}

#[test]
fn what_is_left_is_the_least_that_was_told_less_what_is_under_way() {
    let mut bench = Bench::new();
    (0..4).for_each(|_| bench.budget.begin());
    bench.answer(0, 10, reading(100, 97, 7_500));
    assert_eq!(bench.room(10), 94);
    bench.answer(1, 11, reading(100, 99, 7_499));
    assert_eq!(bench.room(11), 95, "an answer that was overtaken gives nothing back but its place");
    bench.budget.end_untold();
    assert_eq!(bench.room(12), 95, "who says nothing counts");
    bench.budget.give_back();
    assert_eq!(bench.room(13), 96, "what was not sent does not");
    assert_eq!(bench.room(7_520), 97, "another window, in which those that ended may count already");
}

#[test]
fn a_first_answer_that_took_a_while_is_no_later_window() {
    let mut bench = Bench::new();
    // Counted at 1000 at once, answered at 1005; the next one is counted at 1006.
    bench.budget.learn(reading(12, 11, 1_999), Trip::unnoted(bench.zero + ms(1_005)));
    bench.budget.begin();
    bench.answer(1_005, 1_006, reading(12, 10, 1_993));
    assert_eq!(bench.room(1_006), 10);
}

#[test]
fn a_fraction_may_have_been_rounded_down() {
    let mut bench = Bench::new();
    bench.budget.begin();
    // 995.4 ms are told as 0.995.
    bench.answer(0, 1, reading(12, 0, 995));
    assert_eq!(bench.room(996), 0);
    assert_eq!(bench.room(997), 12);
}

#[test]
fn whole_seconds_are_narrowed_down_and_what_may_count_in_the_next_window_does() {
    let mut bench = Bench::new();
    // A window from 0 to 1000.
    (0..3).for_each(|_| bench.budget.begin());
    bench.answer(0, 20, reading(100, 99, 1_000));
    bench.answer(900, 920, reading(100, 98, 1_000));
    assert_eq!(bench.room(1_019), 97, "it may not be over yet");
    // Counted in the window after it, which nobody can know: it was under way when the answer before came.
    bench.answer(915, 1_015, reading(100, 99, 1_000));
    assert_eq!(bench.room(1_021), 97);
}

#[test]
fn an_answer_that_took_long_tells_of_a_window_that_is_over() {
    let mut bench = Bench::new();
    (0..3).for_each(|_| bench.budget.begin());
    bench.answer(0, 20, reading(100, 99, 1_500));
    assert_eq!(bench.room(1_600), 97);
    bench.answer(1_600, 1_620, reading(100, 99, 1_400));
    bench.answer(10, 1_700, reading(100, 2, 1_490));
    assert_eq!(bench.room(1_710), 99);
}

#[test]
fn a_new_window_is_seen_as_soon_as_it_is_told_of() {
    let mut bench = Bench::new();
    bench.budget.begin();
    bench.answer(0, 20, reading(100, 0, 8_000));
    assert_eq!(bench.room(7_900), 0);
    bench.budget.begin();
    bench.answer(7_500, 7_550, reading(100, 99, 8_000));
    assert_eq!(bench.room(7_600), 99);
    bench.budget.learn(reading(50, 40, 8_000), bench.trip(7_600, 7_650));
    assert_eq!((bench.budget.limit(), bench.room(7_700)), (Some(50), 40), "another limit");
}

#[test]
fn a_window_of_which_more_is_left_again_is_a_later_one() {
    let mut bench = Bench::new();
    // A window from 0 to 1000, of which whole seconds only tell that it may last until 1920.
    (0..4).for_each(|_| bench.budget.begin());
    bench.answer(900, 920, reading(100, 10, 1_000));
    bench.answer(919, 930, reading(100, 50, 1_000));
    assert_eq!(bench.room(930), 8, "it may have been overtaken");
    bench.answer(1_005, 1_025, reading(100, 98, 1_000));
    assert_eq!(bench.room(1_025), 96, "more is left in a later window only, in which the one before may count as well");
    bench.answer(1_030, 1_040, reading(100, 40, 1_000));
    assert_eq!((bench.room(1_999), bench.room(2_024)), (40, 40));
    assert_eq!(bench.room(2_025), 100);
}

/// Close counts apart what is one group here: each time more is left of the other limit.
#[test]
fn of_two_limits_that_are_told_of_in_turn_the_tighter_is_kept() {
    for found_out_by_429 in [false, true] {
        let mut bench = Bench::new();
        bench.budget.begin();
        bench.answer(0, 10, reading(100, 5, 1_000));
        bench.budget.begin();
        bench.answer(20, 30, reading(100, 80, 1_000));
        assert_eq!((bench.room(30), bench.budget.is_in_doubt()), (80, true));
        bench.budget.begin();
        if found_out_by_429 {
            bench.exceed(40, 50, Some(1_000));
        } else {
            bench.answer(40, 50, reading(100, 4, 1_000));
        }
        let left = bench.room(50);
        bench.budget.learn(reading(100, 79, 1_000), bench.trip(60, 70));
        assert_eq!((bench.room(70), bench.budget.is_in_doubt()), (left, false), "once is enough");
        assert!(bench.room(1_200) > 0, "the next window");
        bench.budget.begin();
        bench.answer(1_200, 1_210, reading(100, 3, 1_000));
        bench.budget.learn(reading(100, 99, 1_000), bench.trip(1_220, 1_230));
        assert_eq!(bench.room(1_230), 3);
    }
}

#[test]
fn more_is_left_in_no_later_window_before_this_one_can_be_over() {
    let mut bench = Bench::new();
    bench.budget.begin();
    bench.answer(0, 10, reading(100, 5, 8_000));
    bench.budget.learn(reading(100, 80, 8_000), bench.trip(20, 30));
    assert_eq!(bench.room(30), 5);
}

#[test]
fn when_a_request_went_out_of_which_nobody_noted_it_begins_no_window() {
    let mut bench = Bench::new();
    bench.budget.begin();
    bench.answer(0, 100, reading(100, 40, 2_000));
    // It went out at 50.
    bench.budget.learn(reading(100, 80, 2_000), Trip::unnoted(bench.zero + ms(1_200)));
    assert_eq!(bench.room(1_200), 40);
}

#[test]
fn windows_that_are_hardly_used_leave_nothing_to_the_next() {
    let mut bench = Bench::new();
    for window in 0..300 {
        let now = window * 3_000;
        assert!(bench.room(now) >= 99, "window {window}");
        bench.budget.begin();
        bench.answer(now, now + 10, reading(100, 99, 1_000));
        assert_eq!(bench.room(now + 10), 99);
    }
}

#[test]
fn assumed_windows_that_are_hardly_used_leave_nothing_to_the_next() {
    let mut bench = Bench::new();
    for window in 0..300 {
        let now = window * 3_000;
        bench.budget.assume(100, ms(1_000), bench.zero + ms(now));
        bench.budget.begin();
        bench.budget.end_untold();
        assert_eq!((bench.room(now), bench.room(now + 999)), (99, 99), "window {window}");
        assert!(bench.room(now + 1_000) >= 99);
    }
}

#[test]
fn what_was_under_way_when_a_window_ended_says_nothing_of_the_end_of_the_next() {
    let mut bench = Bench::new();
    // Windows of 1200: the first until 1000.
    (0..3).for_each(|_| bench.budget.begin());
    bench.answer(0, 20, reading(100, 60, 1_000));
    bench.answer(1_010, 1_030, reading(100, 99, 2_000));
    // It overtook this one.
    bench.answer(980, 1_040, reading(100, 59, 1_000));
    assert_eq!((bench.room(2_199), bench.room(2_999)), (59, 59), "and what it left may be left of either");
}

#[test]
fn a_wait_is_not_ended_by_what_is_left_of_another_limit() {
    let mut bench = Bench::new();
    (0..2).for_each(|_| bench.budget.begin());
    bench.answer(0, 10, reading(100, 50, 1_000));
    bench.exceed(20, 30, Some(5_000));
    bench.budget.learn(reading(100, 60, 1_000), bench.trip(40, 50));
    bench.budget.learn(reading(100, 61, 1_000), bench.trip(60, 70));
    assert_eq!(bench.room(80), 0);
}

#[test]
fn a_429_that_says_nothing_is_waited_for_longer_each_time_and_tried_with_one_request() {
    let mut bench = Bench::new();
    let mut now = 0;
    for wait in [1_000, 2_000, 4_000, 8_000] {
        bench.budget.begin();
        bench.exceed(now, now, None);
        assert_eq!((bench.room(now), bench.room(now + wait - 1), bench.room(now + wait)), (0, 0, 1));
        now += wait;
    }
    bench.budget.begin();
    assert_eq!(bench.room(now), 0);
    bench.budget.succeed();
    bench.budget.end_untold();
    assert_eq!(bench.room(now), 2, "and then with two");
}

#[test]
fn a_429_that_names_a_wait_is_believed() {
    let mut bench = Bench::new();
    bench.budget.begin();
    bench.exceed(0, 10, Some(700));
    assert_eq!((bench.room(709), bench.room(710)), (0, 1));
    let told = Some(reading(9, 4, 300));
    bench.budget.exceed(Some(ms(300)), None, told, bench.trip(800, 800));
    assert_eq!((bench.budget.limit(), bench.room(1_099), bench.room(1_101)), (Some(9), 0, 9));
}

#[test]
fn windows_that_turn_out_not_to_have_begun_begin_carefully() {
    let mut bench = Bench::new();
    bench.budget.begin();
    bench.answer(0, 0, reading(10, 0, 999));
    assert_eq!(bench.room(1_000), 10);
    bench.budget.begin();
    bench.budget.exceed(Some(ms(500)), Some(10), None, bench.trip(1_000, 1_000));
    bench.budget.give_back();
    assert_eq!((bench.room(1_499), bench.room(1_500)), (0, 1));
    bench.budget.begin();
    bench.budget.succeed();
    bench.answer(1_500, 1_500, reading(10, 9, 999));
    assert_eq!(bench.room(1_500), 9);
}

#[test]
fn a_limit_that_nobody_tells_of_is_kept_window_by_window() {
    let mut bench = Bench::new();
    for window in 0..3 {
        let now = bench.zero + ms(window * 1_000);
        for _ in 0..5 {
            assert!(bench.room(window * 1_000) > 0);
            bench.budget.assume(5, ms(1_000), now);
            bench.budget.begin();
            bench.budget.end_untold();
        }
        assert_eq!(bench.room(window * 1_000 + 999), 0);
    }
}

/// How an upstream tells its limit.
#[derive(Debug, Clone, Copy)]
enum Telling {
    Fractions,
    Seconds,
}

/// An upstream with windows that begin all `length` milliseconds, and a client that sends as soon as it may.
struct Model {
    bench: Bench,
    limit: u32,
    length: u64,
    telling: Telling,
    used: BTreeMap<u64, u32>,
    refused: u32,
}

impl Model {
    /// Counts a request.
    fn count(&mut self, at: u64) -> Reading {
        let used = self.used.entry(at / self.length).or_default();
        if *used == self.limit {
            self.refused += 1;
        } else {
            *used += 1;
        }
        let (remaining, reset) = (self.limit - *used, self.length - at % self.length);
        match self.telling {
            Telling::Seconds => reading(self.limit, remaining, reset.div_ceil(1_000) * 1_000),
            Telling::Fractions => Reading { exactness: Exactness::Fraction, ..reading(self.limit, remaining, reset) },
        }
    }

    /// Sends for so long, with these times of travel there and back in turn; how many got through.
    fn run(&mut self, until: u64, travels: &[(u64, u64)], gaps: &[u64]) -> u32 {
        let mut events: BTreeMap<(u64, u64), Event> = BTreeMap::from([((0, 0), Event::Ask)]);
        let mut number = 0;
        let mut next = 1;
        while let Some(((now, _), event)) = events.pop_first() {
            let turn = next as usize;
            let mut push = |at, event| {
                events.insert((at, next), event);
                next += 1;
            };
            match event {
                Event::Ask if now < until => {
                    // The first is alone until it has taught.
                    let free = if number == 0 { 1 } else { self.bench.room(now).min(3) };
                    for _ in 0..free {
                        self.bench.budget.begin();
                        let (there, back) = travels[number as usize % travels.len()];
                        push(now + there, Event::Arrive { sent: now, back });
                        number += 1;
                    }
                    let pause = if number == 1 { travels[0].0 + travels[0].1 + 1 } else { 0 };
                    push(now + pause + gaps[turn % gaps.len()].max(1), Event::Ask);
                }
                Event::Ask => {}
                Event::Arrive { sent, back } => {
                    let told = self.count(now);
                    push(now + back, Event::Return { sent, told });
                }
                Event::Return { sent, told } => self.bench.answer(sent, now, told),
            }
        }
        self.used.values().sum()
    }
}

enum Event {
    Ask,
    Arrive { sent: u64, back: u64 },
    Return { sent: u64, told: Reading },
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// However requests travel and overtake one another: not one is turned away, and most of each window is used. Where
    /// the end of a window is told in whole seconds only, and windows are hardly longer, a doubt remains: of 10,000 such
    /// cases 7 had any turned away, and the worst of them 3.3 %.
    #[test]
    fn no_request_is_one_too_many(
        limit in 5_u32..60,
        length in 600_u64..4_000,
        which in 0_usize..2,
        travels in proptest::collection::vec((0_u64..60, 0_u64..200), 1..40),
        gaps in proptest::collection::vec(1_u64..12, 1..20),
    ) {
        let telling = [Telling::Fractions, Telling::Seconds][which];
        // In whole seconds nobody can tell of a window that is shorter than one.
        let length = if which == 1 { length.max(1_000) } else { length };
        let (used, refused) = (BTreeMap::new(), 0);
        let mut model = Model { bench: Bench::new(), limit, length, telling, used, refused };
        let through = model.run(20 * length, &travels, &gaps);
        let doubtful = if which == 1 { through / 20 } else { 0 };
        prop_assert!(model.refused <= doubtful, "{} of {}", model.refused, through);
        prop_assert!(through > 20 * limit / 4, "{} of {}", through, 20 * limit);
    }
}
