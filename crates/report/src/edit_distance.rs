//! Similarity of names, for messages that name what was probably meant.

/// Longest word that is compared with names, in bytes.
const MAX_WORD: usize = 40;

/// Returns the Levenshtein distance of two names: the number of bytes to insert, remove or replace.
#[must_use]
pub fn edit_distance(one: &str, other: &str) -> usize {
    let other = other.as_bytes();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.bytes().enumerate() {
        let mut corner = row[0];
        row[0] = at + 1;
        for (column, wanted) in other.iter().enumerate() {
            let replaced = corner + usize::from(letter != *wanted);
            corner = row[column + 1];
            row[column + 1] = replaced.min(corner + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

/// Returns the name that differs from the word in one or two letters; `None` for the word itself.
#[must_use]
pub fn nearest_name<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = if word.len() > 3 { 2 } else { 1 };
    if word.len() >= MAX_WORD {
        return None;
    }
    let near =
        names.into_iter().map(|name| (edit_distance(word, name), name)).min_by_key(|(edits, _)| *edits);
    near.filter(|(edits, _)| (1..=limit).contains(edits)).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (one, other, distance) in [("", "", 0), ("", "ab", 2), ("blog", "bolg", 2), ("blog", "bog", 1)] {
            assert_eq!(edit_distance(one, other), distance, "{one} {other}");
            assert_eq!(edit_distance(other, one), distance, "{other} {one}");
        }
    }

    #[test]
    fn the_nearest_of_several_names() {
        let nearest = |word: &str| nearest_name(word, ["web", "worker", "clock"]);
        assert_eq!(
            [nearest("wep"), nearest("workers"), nearest("clokc")],
            [Some("web"), Some("worker"), Some("clock")]
        );
        assert_eq!([nearest("web"), nearest("api"), nearest(&"w".repeat(MAX_WORD))], [None; 3]);
    }
}
