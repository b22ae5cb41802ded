//! Renders a Procfile and its ENV as configuration of another program: nginx, systemd, cron or a
//! container engine. A value of
//! an app can never end the word it is written into: it is parsed into a type or rejected in one line that
//! names the variable.

pub mod app_values;
pub(crate) mod container;
pub(crate) mod crontab;
pub mod nginx;
pub(crate) mod systemd;
