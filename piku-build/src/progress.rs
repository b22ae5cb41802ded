//! What a build says while it works: on stderr, in the form that Heroku's users know. A laptop that went away, and with
//! it the other end of stderr, stops no build: failed writes are nobody's business.

use std::io::Write;

use piku_report::diagnostic::readable;

/// A new stage: `-----> Python app detected`.
pub(crate) fn stage(text: &str) {
    say("-----> ", text);
}

/// More about the stage: seven blanks in front.
pub(crate) fn detail(text: &str) {
    say("       ", text);
}

/// Something its author should look at: ` !     warning: …`.
pub(crate) fn warning(text: &str) {
    say(" !     ", &format!("warning: {text}"));
}

/// The same for a text that says itself that it is a warning.
pub(crate) fn marked(text: &str) {
    say(" !     ", text);
}

/// Each line of the text behind `front`.
fn say(front: &str, text: &str) {
    let mut lines = String::new();
    for (at, line) in text.lines().enumerate() {
        // The arrow stands once; what follows belongs below it.
        lines.push_str(if at > 0 && front.starts_with('-') { "       " } else { front });
        lines.push_str(&readable(line));
        lines.push('\n');
    }
    let _ = std::io::stderr().write_all(lines.as_bytes());
}
