//! Due runs at given times.

use super::*;

fn at(text: &str) -> Timestamp {
    format!("{text}Z").parse().unwrap()
}

fn name() -> ProcessName {
    "cron".parse().unwrap()
}

/// Europe's daylight-saving time without a database: last Sunday of March, 01:00 UTC, to the last one of
/// October.
fn berlin() -> TimeZone {
    TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
}

fn table(schedule: &str, zone: TimeZone, now: &str) -> AppCrontab {
    AppCrontab::new(&[(name(), schedule.to_owned())], zone, &CronMemories::new(), at(now), false)
}

/// Returns the times of all runs until `end`.
fn runs(table: &mut AppCrontab, end: &str) -> Vec<String> {
    let mut times = Vec::new();
    while let Some(next) = table.next_wakeup().filter(|next| *next <= at(end)) {
        assert_eq!(table.take_due(next), [DueRun { name: name(), run: true, remark: None }]);
        times.push(next.strftime("%d %H:%M").to_string());
    }
    times
}

#[test]
fn a_schedule_runs_when_it_says() {
    let run = |schedule, end| runs(&mut table(schedule, TimeZone::UTC, "2026-01-01T00:00:00"), end);
    assert_eq!(run("*/20 1 * * *", "2026-01-02T01:00:00"), ["01 01:00", "01 01:20", "01 01:40", "02 01:00"]);
    assert_eq!(run("@daily", "2026-01-03T00:00:00"), ["02 00:00", "03 00:00"]);
    assert_eq!(run("30 6 13 * fri", "2026-01-14T00:00:00"), ["02 06:30", "09 06:30", "13 06:30"]);
    assert_eq!(run("@weekly", "2026-01-12T00:00:00"), ["04 00:00", "11 00:00"]);
    assert_eq!(table("0 0 30 2 *", TimeZone::UTC, "2026-01-01T00:00:00").next_wakeup(), None);
}

#[test]
fn daylight_saving_time_skips_nothing_and_runs_nothing_twice() {
    let run = |schedule, now, end| runs(&mut table(schedule, berlin(), now), end);
    // 02:30 is not there on 29 March: 03:00 CEST is 01:00 UTC.
    let spring = run("30 2 * * *", "2026-03-28T12:00:00", "2026-03-30T12:00:00");
    assert_eq!(spring.len(), 2, "{spring:?}");
    assert!(spring[0].starts_with("29 01:") && spring[1] == "30 00:30", "{spring:?}");
    // 02:30 is there twice on 25 October.
    let autumn = run("30 2 * * *", "2026-10-24T12:00:00", "2026-10-26T12:00:00");
    assert_eq!(autumn.len(), 2, "{autumn:?}");
    // What runs each hour runs in each of the 25.
    assert_eq!(run("0 * * * *", "2026-10-24T22:00:00", "2026-10-25T23:00:00").len(), 25);
}

#[test]
fn a_missed_run_is_made_up_for_if_the_job_is_at_most_daily() {
    let resume = |schedule: &str, now: &str| {
        let before = table(schedule, TimeZone::UTC, "2026-01-01T12:00:00").memories();
        AppCrontab::new(&[(name(), schedule.to_owned())], TimeZone::UTC, &before, at(now), true)
    };
    let mut nightly = resume("0 3 * * *", "2026-01-05T09:00:00");
    let due = nightly.take_due(at("2026-01-05T09:00:00"));
    assert!(due[0].run && due[0].remark.as_ref().unwrap().contains("2026-01-02 03:00 was missed"), "{due:?}");
    assert_eq!(nightly.next_wakeup(), Some(at("2026-01-06T03:00:00")), "once, and then on time");
    let mut hourly = resume("0 * * * *", "2026-01-05T09:30:00");
    let due = hourly.take_due(at("2026-01-05T09:30:00"));
    assert!(!due[0].run && due[0].remark.as_ref().unwrap().contains("the next one is on time"), "{due:?}");
    assert_eq!(hourly.next_wakeup(), Some(at("2026-01-05T10:00:00")));
    // A slow start misses nothing; neither does a changed schedule or a start by the operator.
    assert!(resume("0 * * * *", "2026-01-01T13:05:00").take_due(at("2026-01-01T13:05:00"))[0].run);
    let before = table("0 3 * * *", TimeZone::UTC, "2026-01-01T12:00:00").memories();
    for (schedule, resumed) in [("0 4 * * *", true), ("0 3 * * *", false)] {
        let crons = [(name(), schedule.to_owned())];
        let mut new = AppCrontab::new(&crons, TimeZone::UTC, &before, at("2026-01-05T09:00:00"), resumed);
        assert_eq!(new.take_due(at("2026-01-05T09:00:00")), []);
    }
}

#[test]
fn setting_the_clock_neither_repeats_nor_forgets_runs() {
    let mut hourly = table("0 * * * *", TimeZone::UTC, "2026-01-01T12:00:00");
    assert!(hourly.take_due(at("2026-01-01T13:00:00"))[0].run);
    // Back by half an hour: 13:00 has run already.
    assert_eq!(hourly.take_due(at("2026-01-01T12:30:00")), []);
    assert_eq!(hourly.next_wakeup(), Some(at("2026-01-01T14:00:00")));
    // Back by months: the clock was wrong before; the schedule continues from the new time.
    assert_eq!(hourly.take_due(at("2025-05-05T05:05:00")), []);
    assert_eq!(hourly.next_wakeup(), Some(at("2025-05-05T06:00:00")));
    assert_eq!(runs(&mut hourly, "2025-05-05T08:00:00"), ["05 06:00", "05 07:00", "05 08:00"]);
    // Ahead by years: a daily job runs once, a more frequent one waits for its time; setting it back runs
    // nothing.
    let mut nightly = table("0 3 * * *", TimeZone::UTC, "2026-01-01T12:00:00");
    for (entry, runs) in [(&mut nightly, true), (&mut hourly, false)] {
        let due = entry.take_due(at("2036-01-01T12:30:00"));
        assert_eq!((due.len(), due[0].run), (1, runs), "{due:?}");
        assert_eq!(entry.take_due(at("2036-01-01T12:30:01")), []);
        assert_eq!(entry.take_due(at("2026-01-01T12:30:00")), []);
    }
    assert_eq!(nightly.next_wakeup(), Some(at("2026-01-02T03:00:00")));
    assert_eq!(runs(&mut nightly, "2026-01-03T03:00:00"), ["02 03:00", "03 03:00"]);
}

#[test]
fn nothing_is_due_before_the_clock_is_set() {
    // A board without a clock battery: an app is started in 1970.
    let mut nightly = table("0 3 * * *", TimeZone::UTC, "1970-01-01T00:00:10");
    assert_eq!(nightly.next_wakeup(), Some(at("2025-03-01T00:00:00")), "the crontab waits for the clock");
    assert_eq!(nightly.describe_upcoming(), ["cron waits until the clock of the machine is set"]);
    assert_eq!(nightly.take_due(at("1970-01-01T03:00:00")), []);
    assert_eq!(nightly.take_due(at("2026-01-01T13:00:00")), [], "no run counts as missed");
    assert_eq!(runs(&mut nightly, "2026-01-03T12:00:00"), ["02 03:00", "03 03:00"]);

    // The board is off for two days; the stored memory shows which run was missed.
    let before = nightly.memories();
    let crons = [(name(), "0 3 * * *".to_owned())];
    let mut nightly = AppCrontab::new(&crons, TimeZone::UTC, &before, at("1970-01-01T00:00:10"), true);
    assert_eq!(nightly.take_due(at("1970-01-01T03:00:00")), []);
    assert_eq!(nightly.memories(), before, "1970 is not remembered");
    let due = nightly.take_due(at("2026-01-05T09:00:00"));
    assert!(due[0].run && due[0].remark.as_ref().unwrap().contains("2026-01-04 03:00 was missed"), "{due:?}");
    assert_eq!(nightly.next_wakeup(), Some(at("2026-01-06T03:00:00")));
}

#[test]
fn a_run_outside_of_the_schedule_is_the_last_one() {
    let mut nightly = table("0 3 * * *", TimeZone::UTC, "2026-01-01T12:00:00");
    assert_eq!(nightly.take_due(at("2026-01-02T03:00:00")).len(), 1);
    nightly.record_exit(&name(), "exit 1");
    nightly.record_start(&name(), at("2026-01-02T09:00:00"));
    let memory = |table: &AppCrontab| table.memories()[&name()].clone();
    assert_eq!(
        (memory(&nightly).last_run, memory(&nightly).last_exit),
        (Some(at("2026-01-02T09:00:00")), None)
    );
    nightly.record_exit(&name(), SUCCESS);
    assert_eq!(memory(&nightly).last_success, Some(at("2026-01-02T09:00:00")));
    assert_eq!(nightly.next_wakeup(), Some(at("2026-01-03T03:00:00")), "the schedule is as it was");
}

#[test]
fn upcoming_runs_are_described() {
    let lines = table("0 3 * * *", TimeZone::UTC, "2026-01-01T12:00:00").describe_upcoming();
    assert_eq!(
        lines,
        ["cron runs next at Fri 2026-01-02 03:00, Sat 2026-01-03 03:00, Sun 2026-01-04 03:00 (UTC)"]
    );
    let lines = table("0 0 30 2 *", TimeZone::UTC, "2026-01-01T12:00:00").describe_upcoming();
    assert_eq!(lines, ["cron never runs: its day does not exist"]);
}
