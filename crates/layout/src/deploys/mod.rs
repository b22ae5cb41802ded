//! Records of deploys: the one that runs, a missed one, their totals, and whether new ones are refused; changes of
//! settings that machines lack; changes of machines that have begun.

pub mod change_record;
pub mod deploy_attempt;
pub mod deploy_lock;
pub mod deploy_totals;
pub mod missed_release;
pub mod missed_settings;
pub mod unfinished_change;
pub mod unfinished_rollback;
pub mod unfinished_verb;
pub mod unfinished_work;
