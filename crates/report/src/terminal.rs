//! Makes the output of untrusted programs safe for a terminal: only text and colours remain, nothing that
//! moves the cursor, fills the clipboard, changes the title or requests a response from the terminal.

use std::str::Chars;

/// Maximum length of a colour sequence: two 24-bit colours and all attributes fit.
const LONGEST_SGR: usize = 64;

/// Resets colours and attributes.
const RESET: &str = "\x1b[0m";

/// Colours of names as SGR numbers: cyan, yellow, green, magenta, blue and bright forms, readable on black and on white.
/// Red is left to errors.
pub const NAME_COLOURS: [u8; 9] = [36, 33, 32, 35, 34, 96, 92, 95, 94];

/// Returns true if the user wants no colours: `NO_COLOR` is set and not empty.
#[must_use]
pub fn is_colour_refused() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// Returns the line as plain text. Invalid UTF-8 becomes the replacement character; escape sequences and
/// control characters except tabs are removed.
#[must_use]
pub fn plain_text(line: &[u8]) -> String {
    clean(line, false)
}

/// Returns the text as [`plain_text`] does, but keeps colours (SGR), which are reset at the end.
#[must_use]
pub fn coloured_text(line: &[u8]) -> String {
    clean(line, true)
}

fn clean(line: &[u8], colours: bool) -> String {
    let text = String::from_utf8_lossy(line);
    let mut clean = String::with_capacity(text.len());
    let mut coloured = false;
    let mut rest = text.chars();
    loop {
        // Nearly all of a log is such text: copied at once, not by character.
        let (plain, other) = rest.as_str().split_at(plain_length(rest.as_str()));
        clean.push_str(plain);
        rest = other.chars();
        let Some(c) = rest.next() else { break };
        match c {
            '\x1b' => match rest.next() {
                Some('[') => {
                    let sequence = control_sequence(&mut rest);
                    if colours && is_sgr(&sequence) {
                        clean.push_str("\x1b[");
                        clean.push_str(&sequence);
                        coloured = true;
                    }
                }
                Some(']' | 'P' | '^' | '_' | 'X') => skip_string(&mut rest),
                Some(' '..='/') => skip_letters(&mut rest),
                _ => {}
            },
            // The same as one character of ISO 6429's second set (C1).
            '\u{9b}' => drop(control_sequence(&mut rest)),
            '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => skip_string(&mut rest),
            // A progress bar that is drawn anew: its states stay apart, and nothing is hidden by what
            // comes after.
            '\r' if rest.clone().next().is_some_and(|c| c != '\r')
                && !clean.is_empty()
                && !clean.ends_with(' ') =>
            {
                clean.push(' ');
            }
            c if c.is_control() || is_layout_mark(c) => {}
            c => clean.push(c),
        }
    }
    if coloured && !clean.ends_with(RESET) {
        clean.push_str(RESET);
    }
    clean
}

/// Returns the length of the printable ASCII characters and tabs at the start of the text.
fn plain_length(text: &str) -> usize {
    text.bytes().take_while(|byte| matches!(byte, b'\t' | b' '..=b'~')).count()
}

/// Reads the rest of a control sequence, including its final character.
fn control_sequence(rest: &mut impl Iterator<Item = char>) -> String {
    let mut sequence = String::new();
    for c in rest {
        sequence.push(c);
        if ('@'..='~').contains(&c) {
            break;
        }
    }
    sequence
}

fn is_sgr(sequence: &str) -> bool {
    let is_parameter = |c: char| c.is_ascii_digit() || matches!(c, ';' | ':');
    sequence.len() <= LONGEST_SGR
        && sequence.strip_suffix('m').is_some_and(|parameters| parameters.chars().all(is_parameter))
}

/// Skips the rest of a sequence that selects a character set: `tput sgr0` prints `ESC ( B` after colours.
fn skip_letters(rest: &mut Chars<'_>) {
    while skip_if(rest, |c| (' '..='/').contains(&c)) {}
    skip_if(rest, |c| ('0'..='~').contains(&c));
}

/// Skips the next character if it is a wanted one; returns true if it was.
fn skip_if(rest: &mut Chars<'_>, is_wanted: impl Fn(char) -> bool) -> bool {
    let mut after = rest.clone();
    let is_skipped = after.next().is_some_and(is_wanted);
    if is_skipped {
        *rest = after;
    }
    is_skipped
}

/// Skips a string for the terminal, up to BEL, ESC \, its C1 form or the end of the line.
fn skip_string(rest: &mut Chars<'_>) {
    while let Some(c) = rest.next() {
        if matches!(c, '\x07' | '\u{9c}') || c == '\x1b' && skip_if(rest, |c| c == '\\') {
            break;
        }
    }
}

/// Returns true for invisible characters that change the order in which a line is displayed, or end it: marks of
/// direction, and the separators of lines and paragraphs.
#[must_use]
pub fn is_layout_mark(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_but_text() {
        assert_eq!(plain_text(b"a\x1b[31;1mred\x1b[0m\tb\r"), "ared\tb");
        assert_eq!(plain_text(b"\x1b]0;title\x07x\x1b]8;;u\x1b\\y\x1bcz"), "xyz");
        assert_eq!(plain_text(b"\xff\x00 \xc2\x9b1mq"), "\u{fffd} q");
        assert_eq!(plain_text(b"\x1b["), "");
        assert_eq!(coloured_text(b"a\x1b[31;1mred\x1b[2J\x1b[?1m"), "a\x1b[31;1mred\x1b[0m");
        assert_eq!(coloured_text(b"\x1b[1mbold\x1b[0m"), "\x1b[1mbold\x1b[0m");
        assert_eq!(coloured_text(b"no colour"), "no colour");
    }

    #[test]
    fn what_honest_programs_print_stays_readable() {
        assert_eq!(
            coloured_text(b"\x1b[1mdone\x1b(B\x1b[m, \x1b(0\x1b$(Cx\x1b#8y"),
            "\x1b[1mdone\x1b[m, xy\x1b[0m"
        );
        assert_eq!(plain_text(b"\r 10%\r 50%\r\r100%\r"), " 10%  50% 100%");
        assert_eq!(coloured_text(b"all\r"), "all");
        let text = "zażółć 日本語 👩\u{200d}💻\t→";
        assert_eq!(coloured_text(text.as_bytes()), text);
    }

    #[test]
    fn no_attack_on_a_terminal_is_left() {
        let sgr_without_end = format!("\x1b[{}mx", "1;".repeat(1000));
        let attacks: [&[u8]; 15] = [
            b"\x1b]52;c;cm0gLXJmIC8=\x07",    // the clipboard
            b"\x1b]52;c;cm0gLXJmIC8=\x1b\\",  // the same
            b"\xc2\x9d52;c;cm0gLXJmIC8=\x07", // the same, as C1
            b"\x1bP$q\"p\x1b\\",              // a question that the terminal answers, as if it were typed
            b"\xc2\x90$q\"p\xc2\x9c",
            b"\x1b[6n\x1b[c\x1b[>c", // more of them
            b"\x1b[2J\x1b[H\x1b[1A", // the screen, the cursor
            b"good\rbad\x08\x08\x08",
            b"\x1b[?1049h\x1b[?25l", // the other screen, no cursor
            b"\x1b[>4;2m\x1b[?4m",   // keys; these end as colours do
            b"\x1b(0\x1b#8\x1bc",    // other letters, a reset
            b"\x1b]0;title",         // without an end
            b"\x1b[31",
            b"\x1b",
            sgr_without_end.as_bytes(),
        ];
        for attack in attacks {
            let shown = coloured_text(attack);
            let is_text = |c: char| !c.is_control();
            assert!(shown.chars().all(is_text), "{:?} of {:?}", shown, String::from_utf8_lossy(attack));
        }
        assert_eq!(coloured_text("a\u{202e}b\u{2066}c\u{2028}".as_bytes()), "abc");
        let rich = "\x1b[1;38;2;255;255;255;48:2::255:255:255mx";
        assert_eq!(coloured_text(rich.as_bytes()), format!("{rich}\x1b[0m"));
    }
}
