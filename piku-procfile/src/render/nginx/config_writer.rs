//! Writes nginx's syntax: every block is closed, and words are quoted if needed. Only this module writes
//! braces, quotes and semicolons.

use std::fmt::Write;

use crate::quoting::quote_nginx;

#[derive(Default)]
pub(super) struct NginxConfigFile {
    text: String,
    depth: usize,
}

impl NginxConfigFile {
    /// Adds `WORD WORD…;`.
    pub(super) fn add(&mut self, words: &[&str]) {
        self.write_words(words);
        self.text.push_str(";\n");
    }

    /// Adds `WORD WORD… { … }`; `fill` adds the directives inside.
    pub(super) fn add_block(&mut self, words: &[&str], fill: impl FnOnce(&mut Self)) {
        self.write_words(words);
        self.text.push_str(" {\n");
        self.depth += 1;
        fill(self);
        self.depth -= 1;
        self.write_indent();
        self.text.push_str("}\n");
    }

    /// Adds a comment of one line; control characters become blanks.
    pub(super) fn add_comment(&mut self, text: &str) {
        self.write_indent();
        let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "# {text}");
    }

    pub(super) fn add_blank_line(&mut self) {
        self.text.push('\n');
    }

    pub(super) fn finish(self) -> String {
        self.text
    }

    fn write_words(&mut self, words: &[&str]) {
        self.write_indent();
        for (at, word) in words.iter().enumerate() {
            if at > 0 {
                self.text.push(' ');
            }
            self.text.push_str(&quote_nginx(word));
        }
    }

    fn write_indent(&mut self) {
        for _ in 0..self.depth {
            self.text.push_str("    ");
        }
    }
}
