//! Quoting for the shell that leaves variables to it.

/// Quotes a word for the shell, which still expands its variables and nothing else.
pub(super) fn quote(word: &str) -> String {
    let escaped = escape(word);
    if escaped == word && is_plain(word) { escaped } else { format!("\"{escaped}\"") }
}

/// Returns whether the shell takes a word as it is, but for its variables.
pub(super) fn is_plain(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_=./:,@%+${}".contains(c))
}

/// Escapes a text for double quotes, in which the shell still expands `$NAME`, `${NAME}` and
/// `${NAME:-plain}`.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for (at, c) in text.char_indices() {
        let is_kept = match c {
            '\\' | '"' | '`' => false,
            '$' => is_variable(&text[at + 1..]),
            _ => true,
        };
        if !is_kept {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// Returns whether the text behind a `$` begins with the name of a variable.
fn is_variable(rest: &str) -> bool {
    let inner = match rest.strip_prefix('{') {
        Some(rest) => match rest.split_once('}') {
            Some((inner, _)) => inner,
            None => return false,
        },
        None => rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default(),
    };
    inner.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && inner.chars().all(|c| c.is_ascii_alphanumeric() || "-_=./:+".contains(c))
}
