//! All attacks, by theme.

mod filesystem;
mod ipc;
mod kernel_calls;
mod limits;
mod processes;
mod sockets;

use crate::row::Row;

/// Returns each attack once; those that disturb others come last.
pub(crate) fn all() -> impl Iterator<Item = &'static Row> {
    let themes: [&[Row]; 18] = [
        &processes::descriptors::ROWS,
        &filesystem::root::ROWS,
        &processes::process1::ROWS,
        &processes::outsiders::ROWS,
        &filesystem::mounts::ROWS,
        &kernel_calls::namespaces::ROWS,
        &kernel_calls::kernel::ROWS,
        &kernel_calls::rights::ROWS,
        &filesystem::devices::ROWS,
        &processes::terminal::ROWS,
        &sockets::ROWS,
        &ipc::ROWS,
        &kernel_calls::keys::ROWS,
        &kernel_calls::filter::ROWS,
        &processes::identity::ROWS,
        &processes::environment::ROWS,
        &filesystem::files::ROWS,
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
