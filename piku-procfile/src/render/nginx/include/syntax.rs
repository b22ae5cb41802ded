//! Parses nginx's syntax into directives, with the rules of nginx's own tokenizer (`ngx_conf_read_token`).

use piku_report::diagnostic::quote_word;

/// `WORD WORD…;`, or `WORD WORD… { … }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::render::nginx) struct NginxDirective {
    /// First line, from 1.
    pub(in crate::render::nginx) line: usize,
    /// Name and arguments, without quotes and escapes.
    pub(in crate::render::nginx) words: Vec<String>,
    pub(in crate::render::nginx) block: Option<Vec<NginxDirective>>,
}

impl NginxDirective {
    pub(in crate::render::nginx) fn name(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }
}

/// Directives of piku's that a block may have several times, each with an effect of its own.
const REPEATABLE: [&str; 4] = ["error_page", "rewrite", "set", "set_real_ip_from"];

/// Returns true if a block with these directives needs no other one with these `words`: nginx would reject
/// the second one, or send a header twice.
pub(in crate::render::nginx) fn is_replaced(words: &[&str], by: &[NginxDirective]) -> bool {
    let Some(name) = words.first() else { return false };
    let is_same_header = |other: &NginxDirective| {
        words.get(1).zip(other.words.get(1)).is_some_and(|(header, other)| header.eq_ignore_ascii_case(other))
    };
    by.iter().filter(|other| other.name() == *name).any(|other| match *name {
        "add_header" | "proxy_set_header" => is_same_header(other),
        _ => !REPEATABLE.contains(name),
    })
}

/// Returns the lines of all blocks.
pub(super) fn block_lines(directives: &[NginxDirective]) -> Box<dyn Iterator<Item = usize> + '_> {
    Box::new(
        directives
            .iter()
            .filter_map(|directive| Some((directive.line, directive.block.as_deref()?)))
            .flat_map(|(line, block)| std::iter::once(line).chain(block_lines(block))),
    )
}

#[derive(Debug)]
pub(in crate::render::nginx) struct NginxSyntaxError {
    pub(super) line: usize,
    pub(super) message: String,
}

/// nginx has no limit, but a recursive parser needs one.
const MAX_DEPTH: usize = 16;

pub(in crate::render::nginx) fn parse_directives(
    text: &str,
) -> Result<Vec<NginxDirective>, NginxSyntaxError> {
    let mut parser = SyntaxParser { chars: text.chars().peekable(), line: 1, depth: 0 };
    parser.parse_block()
}

struct SyntaxParser<'a> {
    chars: std::iter::Peekable<std::str::Chars<'a>>,
    line: usize,
    depth: usize,
}

impl SyntaxParser<'_> {
    /// Parses up to the `}` of this block, or to the end of the file.
    fn parse_block(&mut self) -> Result<Vec<NginxDirective>, NginxSyntaxError> {
        let mut directives = Vec::new();
        let mut words: Vec<String> = Vec::new();
        let mut line = self.line;
        loop {
            self.skip_blanks();
            if words.is_empty() {
                line = self.line;
            }
            match self.chars.peek().copied() {
                None if !words.is_empty() => {
                    return self.fail(format!("{} has no ';'", quote_word(&words[0])));
                }
                None if self.depth > 0 => return self.fail("a '{' is not closed"),
                None => return Ok(directives),
                Some('}') => {
                    self.next();
                    if !words.is_empty() {
                        return self.fail(format!("{} has no ';'", quote_word(&words[0])));
                    }
                    if self.depth == 0 {
                        return self.fail("a '}' with no '{'");
                    }
                    return Ok(directives);
                }
                Some(end @ (';' | '{')) => {
                    self.next();
                    if words.is_empty() {
                        return self.fail(format!("a '{end}' with nothing before it"));
                    }
                    let words = std::mem::take(&mut words);
                    let block = if end == '{' { Some(self.parse_inner_block()?) } else { None };
                    directives.push(NginxDirective { line, words, block });
                }
                Some(_) => {
                    let word = self.parse_word()?;
                    words.push(word);
                }
            }
        }
    }

    fn parse_inner_block(&mut self) -> Result<Vec<NginxDirective>, NginxSyntaxError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.fail("blocks are nested too deeply");
        }
        let block = self.parse_block()?;
        self.depth -= 1;
        Ok(block)
    }

    fn skip_blanks(&mut self) {
        while let Some(c) = self.chars.peek().copied() {
            match c {
                ' ' | '\t' | '\r' | '\n' => {
                    self.next();
                }
                '#' => while self.next().is_some_and(|c| c != '\n') {},
                _ => return,
            }
        }
    }

    fn parse_word(&mut self) -> Result<String, NginxSyntaxError> {
        let mut text = String::new();
        if let Some(quote @ ('"' | '\'')) = self.chars.peek().copied() {
            let opened = self.line;
            self.next();
            loop {
                match self.next() {
                    None => {
                        let message = format!("the quote {quote} is not closed");
                        return Err(NginxSyntaxError { line: opened, message });
                    }
                    Some(c) if c == quote => break,
                    Some('\\') => self.parse_escape(&mut text),
                    Some(c) => text.push(c),
                }
            }
            return match self.chars.peek() {
                None | Some(' ' | '\t' | '\r' | '\n' | ';' | '{' | ')') => Ok(text),
                Some(_) => self.fail("text right after a closing quote"),
            };
        }
        // A brace after a dollar is part of a variable.
        let mut dollar = false;
        while let Some(c) = self.chars.peek().copied() {
            match c {
                ' ' | '\t' | '\r' | '\n' | ';' => break,
                '{' if !dollar => break,
                _ => {}
            }
            self.next();
            dollar = c == '$';
            if c == '\\' { self.parse_escape(&mut text) } else { text.push(c) }
        }
        Ok(text)
    }

    /// Parses the character after a backslash.
    fn parse_escape(&mut self, text: &mut String) {
        match self.next() {
            Some(c @ ('"' | '\'' | '\\')) => text.push(c),
            Some('t') => text.push('\t'),
            Some('r') => text.push('\r'),
            Some('n') => text.push('\n'),
            Some(c) => text.extend(['\\', c]),
            None => text.push('\\'),
        }
    }

    fn next(&mut self) -> Option<char> {
        let c = self.chars.next();
        self.line += usize::from(c == Some('\n'));
        c
    }

    fn fail<T>(&self, message: impl Into<String>) -> Result<T, NginxSyntaxError> {
        Err(NginxSyntaxError { line: self.line, message: message.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<Vec<String>> {
        parse_directives(text).expect(text).into_iter().map(|directive| directive.words).collect()
    }

    #[test]
    fn words_are_tokenized_as_nginx_does() {
        for (text, wanted) in [
            ("a b  c;", &["a", "b", "c"][..]),
            ("a \"b c\" 'd;e';", &["a", "b c", "d;e"]),
            (r#"a "b\"c\\d\e\n" '\'';"#, &["a", "b\"c\\d\\e\n", "'"]),
            (r"a b\ c\;d;", &["a", r"b\ c\;d"]),
            ("a ${b}c d}e;", &["a", "${b}c", "d}e"]),
            ("a # b;\n c;", &["a", "c"]),
            ("a b#c;", &["a", "b#c"]),
            ("if ($a ~ \"x\") ;", &["if", "($a", "~", "x", ")"]),
            ("a \"\";", &["a", ""]),
        ] {
            assert_eq!(words(text), [wanted], "{text}");
        }
    }

    #[test]
    fn blocks_nest_and_lines_are_counted() {
        let read = parse_directives("\na {\n b c; d { e; }\n}\nf;").unwrap();
        assert_eq!((read[0].line, read[1].line), (2, 5));
        let inner = read[0].block.as_ref().unwrap();
        assert_eq!((inner[0].line, inner.len()), (3, 2));
        assert_eq!(inner[1].block.as_ref().unwrap()[0].name(), "e");
    }

    #[test]
    fn syntax_errors_have_a_line() {
        for (text, line) in [
            ("a", 1),
            ("a;\n}", 2),
            ("a {\nb;\n", 3),
            ("\n;", 2),
            ("\na 'b\n;", 2),
            ("a \"b\"c;", 1),
            ("a { b }", 1),
            (&"a{".repeat(100), 1),
        ] {
            assert_eq!(parse_directives(text).unwrap_err().line, line, "{text}");
        }
    }
}
