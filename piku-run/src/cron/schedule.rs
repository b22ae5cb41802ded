//! One schedule: the times after a time, in a time zone.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// A bit less than a day: one has 23 hours a year.
const DAY: SignedDuration = SignedDuration::from_hours(23);

/// Five fields of crontab(5), or a word such as `@daily`.
#[derive(Debug)]
pub(crate) struct CronSchedule(Cron);

impl CronSchedule {
    /// Nothing for what is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        parser.parse(text).ok().map(Self)
    }

    /// The first time after this one; nothing for a day that never comes.
    pub(crate) fn after(&self, time: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let time = time.to_zoned(zone.clone());
        self.0.find_next_occurrence(&time, false).ok().map(|next| next.timestamp())
    }

    /// Whether it runs, from this time on, no more than once a day.
    pub(crate) fn is_seldom(&self, time: Timestamp, zone: &TimeZone) -> bool {
        self.after(time, zone).is_none_or(|next| next.duration_since(time) >= DAY)
    }
}
