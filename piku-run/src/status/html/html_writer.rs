//! A writer of HTML that escapes all text: only markup that stands in the source reaches the page as it is.

use piku_report::terminal::is_layout_mark;

/// HTML text that grows.
#[derive(Debug, Default)]
pub(super) struct HtmlWriter(String);

impl HtmlWriter {
    /// Adds markup. It cannot come from an app: it lives as long as the program.
    pub(super) fn markup(&mut self, markup: &'static str) {
        self.0.push_str(markup);
    }

    /// Adds text.
    pub(super) fn text(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                '\n' | '\t' => self.0.push(c),
                // HTML has no other control characters, and these marks would show a text as another one.
                c if c.is_control() || is_layout_mark(c) => self.0.push('\u{fffd}'),
                c => self.0.push(c),
            }
        }
    }

    /// Adds an element with its content.
    pub(super) fn element(
        &mut self,
        name: &'static str,
        attributes: &[(&'static str, &str)],
        content: impl FnOnce(&mut Self),
    ) {
        self.open(name, attributes);
        content(self);
        self.0.push_str("</");
        self.0.push_str(name);
        self.0.push('>');
        // Blanks between words inside a line count.
        if !INLINE.contains(&name) {
            self.0.push('\n');
        }
    }

    /// Adds an element that contains only text.
    pub(super) fn text_element(
        &mut self,
        name: &'static str,
        attributes: &[(&'static str, &str)],
        text: &str,
    ) {
        self.element(name, attributes, |to| to.text(text));
    }

    /// Adds an element without content, or the beginning of one.
    pub(super) fn open(&mut self, name: &'static str, attributes: &[(&'static str, &str)]) {
        self.0.push('<');
        self.0.push_str(name);
        for (name, value) in attributes {
            self.0.push(' ');
            self.0.push_str(name);
            self.0.push_str("=\"");
            self.text(value);
            self.0.push('"');
        }
        self.0.push('>');
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// Elements within a line of text.
const INLINE: [&str; 6] = ["a", "span", "time", "code", "strong", "pre"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        let mut to = HtmlWriter::default();
        let hostile = "</style><script>alert('\"1&2\"')</script>\u{202e}\0";
        to.element("p", &[("title", hostile)], |to| to.text(hostile));
        let page = to.finish();
        let escaped =
            "&lt;/style&gt;&lt;script&gt;alert(&#39;&quot;1&amp;2&quot;&#39;)&lt;/script&gt;\u{fffd}\u{fffd}";
        assert_eq!(page, format!("<p title=\"{escaped}\">{escaped}</p>\n"));
    }
}
