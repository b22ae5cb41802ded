//! All attacks, by theme.

mod descriptors;
mod devices;
mod environment;
mod files;
mod filter;
mod identity;
mod ipc;
mod kernel;
mod keys;
mod limits;
mod mounts;
mod namespaces;
mod outsiders;
mod process1;
mod rights;
mod root;
mod sockets;
mod terminal;

use crate::row::Row;

/// Returns each attack once; those that disturb others come last.
pub(crate) fn all() -> impl Iterator<Item = &'static Row> {
    let themes: [&[Row]; 18] = [
        &descriptors::ROWS,
        &root::ROWS,
        &process1::ROWS,
        &outsiders::ROWS,
        &mounts::ROWS,
        &namespaces::ROWS,
        &kernel::ROWS,
        &rights::ROWS,
        &devices::ROWS,
        &terminal::ROWS,
        &sockets::ROWS,
        &ipc::ROWS,
        &keys::ROWS,
        &filter::ROWS,
        &identity::ROWS,
        &environment::ROWS,
        &files::ROWS,
        &limits::ROWS,
    ];
    themes.into_iter().flatten()
}

/// Finds an attack by its name.
pub(crate) fn find(name: &str) -> Option<&'static Row> {
    all().find(|row| row.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_one_attacks_and_no_text_breaks_the_table() {
        let mut names: Vec<_> = all().map(|row| row.name).collect();
        assert!(all().all(|row| !row.attempt.contains('|') && !row.expected.contains('|')));
        assert!(names.iter().all(|name| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')));
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
