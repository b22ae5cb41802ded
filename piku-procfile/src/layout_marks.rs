//! Warnings of invisible characters with which a line is shown as another one than it is.

use piku_report::terminal::is_layout_mark;

/// Returns the first such character and its byte in the text.
pub(crate) fn find_layout_mark(text: &str) -> Option<(usize, char)> {
    text.char_indices().find(|(_, c)| is_layout_mark(*c))
}

/// Returns the message about it.
pub(crate) fn layout_mark(c: char) -> String {
    let what =
        if matches!(c, '\u{2028}' | '\u{2029}') { "ends the line" } else { "changes the order of the line" };
    format!("an invisible character (U+{:04X}) that {what} in many editors and terminals", u32::from(c))
}
