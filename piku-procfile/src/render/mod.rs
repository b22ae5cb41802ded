//! A Procfile with its ENV in the form that another program reads: nginx, systemd, cron. What an app has set never breaks
//! out of its place there: it is read into a type, or refused in one line that names the variable.

pub(crate) mod cli;
pub mod crontab;
pub mod nginx;
pub mod systemd;
pub(crate) mod tool;
pub mod values;
