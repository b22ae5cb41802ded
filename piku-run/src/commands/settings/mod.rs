//! Commands that show, change or check the settings of apps.

pub(super) mod certs;
pub(super) mod check;
pub(in crate::commands) mod config;
pub(super) mod deploy_lock;
pub(super) mod domains;
pub(super) mod foreign_app;
pub(super) mod grant;
pub(super) mod maintenance;

use std::io::{Read, stdin};

use anyhow::Context;
use piku_report::user_error::UserError;

/// Longest input of a change of settings, in MiB. The kernel gives a process an environment of 2 at the most.
const LONGEST_INPUT: u64 = 8;

/// Reads stdin, which any key for the app may send.
///
/// # Errors
/// Fails if it is longer than [`LONGEST_INPUT`].
fn read_input() -> anyhow::Result<Vec<u8>> {
    let limit = LONGEST_INPUT << 20;
    let mut input = Vec::new();
    stdin().lock().take(limit + 1).read_to_end(&mut input).context("cannot read stdin")?;
    if input.len() as u64 > limit {
        let what = format!("stdin has more than {LONGEST_INPUT} MiB, more than any settings");
        return Err(UserError::new(what).into());
    }
    Ok(input)
}
