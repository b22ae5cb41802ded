//! Writes nginx's syntax: blocks that always close, and words that are quoted where they need it. Nothing else here writes a
//! brace, a quote or a semicolon.

use std::fmt::Write;

/// A file that is being written.
#[derive(Default)]
pub(super) struct NginxConfigFile {
    text: String,
    depth: usize,
}

impl NginxConfigFile {
    /// `WORD WORD…;`
    pub(super) fn put(&mut self, words: &[&str]) {
        self.words(words);
        self.text.push_str(";\n");
    }

    /// `WORD WORD… { … }`
    pub(super) fn block(&mut self, words: &[&str], fill: impl FnOnce(&mut Self)) {
        self.words(words);
        self.text.push_str(" {\n");
        self.depth += 1;
        fill(self);
        self.depth -= 1;
        self.indent();
        self.text.push_str("}\n");
    }

    /// `# …`; one line whatever the text is.
    pub(super) fn comment(&mut self, text: &str) {
        self.indent();
        let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "# {text}");
    }

    pub(super) fn blank(&mut self) {
        self.text.push('\n');
    }

    pub(super) fn finish(self) -> String {
        self.text
    }

    fn words(&mut self, words: &[&str]) {
        self.indent();
        for (at, word) in words.iter().enumerate() {
            if at > 0 {
                self.text.push(' ');
            }
            self.text.push_str(&quoted(word));
        }
    }

    fn indent(&mut self) {
        for _ in 0..self.depth {
            self.text.push_str("    ");
        }
    }
}

/// The word as nginx reads it back. A `$` begins a variable in either form: whoever has a text of somebody else's refuses it.
fn quoted(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-./:*=@$+,~^!%&?|<>[]".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    let mut text = String::with_capacity(word.len() + 8);
    text.push('"');
    for c in word.chars() {
        if matches!(c, '"' | '\\') {
            text.push('\\');
        }
        text.push(c);
    }
    text.push('"');
    text
}
