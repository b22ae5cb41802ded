//! What is stored about deploys: the one that runs, those that were missed, whether new ones are refused, how many there were.

pub mod deploy_attempt;
pub mod deploy_lock;
pub mod deploy_totals;
pub mod missed_release;
