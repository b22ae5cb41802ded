//! Renders a Procfile and its ENV as configuration of another program: nginx, systemd or cron. A value of
//! an app can never end the word it is written into: it is parsed into a type or rejected in one line that
//! names the variable.

pub mod app_values;
pub(crate) mod crontab;
pub mod nginx;
pub(crate) mod systemd;
