//! A cron schedule: computes run times in a time zone.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use piku_procfile::schedule::requires_both_days;

/// The shortest day: one day a year has 23 hours.
const DAY: SignedDuration = SignedDuration::from_hours(23);

/// The five fields of crontab(5), or a word such as `@daily`.
#[derive(Debug)]
pub(crate) struct CronSchedule(Cron);

impl CronSchedule {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .dom_and_dow(requires_both_days(text))
            .build();
        parser.parse(text).ok().map(Self)
    }

    /// Returns the first run after this time; `None` if there is none, as on 30 February.
    pub(crate) fn next_run(&self, time: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let time = time.to_zoned(zone.clone());
        self.0.find_next_occurrence(&time, false).ok().map(|next| next.timestamp())
    }

    /// Returns true if the run after this one is at least a day later.
    pub(crate) fn is_at_most_daily(&self, time: Timestamp, zone: &TimeZone) -> bool {
        self.next_run(time, zone).is_none_or(|next| next.duration_since(time) >= DAY)
    }
}
