//! Processes that are killed and disks that are full: the old release serves, and the next push is clean.

mod crash;
mod destroyed_backup;
mod full_disk;
mod killed_transfers;
mod old_backup;
mod random_kills;
mod server_processes;
