//! Writes nginx's syntax: every block is closed, and words are quoted if needed. Only this module writes
//! braces, quotes and semicolons.
//!
//! nginx accepts most directives once in a block. Where the app has set one in a block of piku's, piku's own
//! value is left out.

use std::fmt::Write;

use super::include::syntax::{NginxDirective, is_replaced};
use crate::quoting::quote_nginx;

/// The beginning of a comment that names the line of the app's file that a directive is from.
const SOURCE: &str = " # ";

#[derive(Default)]
pub(super) struct NginxConfigFile<'a> {
    text: String,
    depth: usize,
    /// The app's directives in the current block.
    own: &'a [NginxDirective],
    /// Directives that all servers inherit.
    inherited: Vec<Vec<String>>,
}

impl<'a> NginxConfigFile<'a> {
    /// Creates a file whose servers inherit these directives.
    pub(super) fn inheriting(inherited: Vec<Vec<String>>) -> Self {
        Self { inherited, ..Self::default() }
    }

    /// Adds `WORD WORD…;` unless the app has set the directive in this block.
    pub(super) fn add(&mut self, words: &[&str]) {
        if is_replaced(words, self.own) {
            return;
        }
        self.write_words(words);
        self.text.push_str(";\n");
    }

    /// Adds a directive to a server unless it inherits it.
    pub(super) fn add_to_server(&mut self, words: &[&str]) {
        if !self.inherited.iter().any(|inherited| inherited == words) {
            self.add(words);
        }
    }

    /// Returns true if the app has set the directive in the current block.
    pub(super) fn is_set_by_app(&self, name: &str) -> bool {
        self.own.iter().any(|own| own.name() == name)
    }

    /// Adds `WORD WORD… { … }`; `fill` adds the directives inside.
    pub(super) fn add_block(&mut self, words: &[&str], fill: impl FnOnce(&mut Self)) {
        self.write_block(words, None, &[], fill);
    }

    /// Adds a block of piku's in which the app has set `own`, which `fill` adds too. `source` is the place in
    /// the app's file, `FILE:LINE`.
    pub(super) fn add_shared_block(
        &mut self,
        words: &[&str],
        source: &str,
        own: &'a [NginxDirective],
        fill: impl FnOnce(&mut Self),
    ) {
        self.write_block(words, Some(source), own, fill);
    }

    /// Calls `fill` with `own` as the app's directives in the current block.
    pub(super) fn share_block(&mut self, own: &'a [NginxDirective], fill: impl FnOnce(&mut Self)) {
        let before = std::mem::replace(&mut self.own, own);
        fill(self);
        self.own = before;
    }

    /// Adds a directive from the app's file, with its place in that file, `FILE:LINE`.
    pub(super) fn add_own(&mut self, words: &[&str], source: &str) {
        self.write_words(words);
        self.text.extend([";", SOURCE, source, "\n"]);
    }

    fn write_block(
        &mut self,
        words: &[&str],
        source: Option<&str>,
        own: &'a [NginxDirective],
        fill: impl FnOnce(&mut Self),
    ) {
        self.write_words(words);
        self.text.push_str(" {");
        if let Some(source) = source {
            self.text.extend([SOURCE, source]);
        }
        self.text.push('\n');
        self.depth += 1;
        self.share_block(own, fill);
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

/// Returns the place in the app's file, `FILE:LINE`, of a line that was rendered from it.
#[must_use]
pub fn source_of_line(line: &str) -> Option<&str> {
    let (directive, source) = line.rsplit_once(SOURCE)?;
    let (_, number) = source.rsplit_once(':')?;
    let is_whole = directive.ends_with([';', '{']) && number.bytes().all(|b| b.is_ascii_digit());
    (is_whole && !number.is_empty()).then_some(source)
}
