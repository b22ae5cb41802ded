//! The buffers for the response to one request. nginx rejects sizes that do not fit together, and names no
//! line of the app's file; so those that the app does not set are derived from those that it sets.

use super::config_writer::NginxConfigFile;
use super::include::syntax::NginxDirective;

const FIRST: &str = "proxy_buffer_size";
const BUFFERS: &str = "proxy_buffers";
const BUSY: &str = "proxy_busy_buffers_size";

/// The directives that set these sizes.
pub(super) const DIRECTIVES: [&str; 3] = [FIRST, BUFFERS, BUSY];

/// Maximum number of buffers of one request, and their maximum total size in bytes.
pub(super) const MAX_BUFFERS: u64 = 32;
pub(super) const MAX_BUFFERED: u64 = 1 << 20;

/// Smallest buffer in bytes.
const MIN_BUFFER: u64 = 1 << 10;

/// Sizes in bytes. A slow client makes nginx hold all of these buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ProxyBuffers {
    /// Buffer for the response's headers, or for each direction of a websocket.
    first: u64,
    count: u64,
    each: u64,
    /// The part that may be waiting for the client while the app still sends; `None` for the largest
    /// sensible one.
    busy: Option<u64>,
}

impl Default for ProxyBuffers {
    fn default() -> Self {
        Self { first: 32 << 10, count: 8, each: 8 << 10, busy: None }
    }
}

impl ProxyBuffers {
    /// Returns the sizes in a block with these directives. Fails with the line of the one that does not fit.
    pub(super) fn in_block(self, own: &[NginxDirective]) -> Result<Self, (usize, String)> {
        let last = |name: &str| own.iter().rev().find(|directive| directive.name() == name);
        let (first, buffers, busy) = (last(FIRST), last(BUFFERS), last(BUSY));
        let mut sizes = self;
        if let Some(directive) = first {
            let at = |message| (directive.line, message);
            sizes.first = parse_sizes(&directive.words).map_err(at)?.1;
            sizes.busy = None;
        }
        if let Some(directive) = buffers {
            let at = |message| (directive.line, message);
            (sizes.count, sizes.each) = parse_sizes(&directive.words).map_err(at)?;
            sizes.busy = None;
        }
        match (first, buffers) {
            (Some(_), Some(set)) if sizes.first > sizes.shared() => {
                let message = format!("'{FIRST}' must not be larger than all '{BUFFERS}' but one");
                return Err((set.line, message));
            }
            (Some(_), None) => {
                while sizes.first > sizes.shared() {
                    sizes.each *= 2;
                }
            }
            (None, Some(_)) => sizes.first = sizes.first.min(sizes.shared()),
            _ => {}
        }
        if let Some(directive) = busy {
            let size = parse_sizes(&directive.words).map_err(|message| (directive.line, message))?.1;
            let range = sizes.first.max(sizes.each)..=sizes.shared();
            if !range.contains(&size) {
                let message =
                    format!("'{BUSY}' must be from {} to {} bytes here", range.start(), range.end());
                return Err((directive.line, message));
            }
            sizes.busy = Some(size);
        }
        Ok(sizes)
    }

    /// Returns the size of all buffers but one, which nginx needs for reading on.
    fn shared(self) -> u64 {
        self.count.saturating_sub(1) * self.each
    }

    /// Returns the kilobytes that one request may hold.
    pub(super) fn kilobytes(self) -> u32 {
        u32::try_from((self.first + self.count * self.each).div_ceil(1 << 10)).unwrap_or(u32::MAX)
    }

    /// Returns the words of the directives.
    pub(super) fn directives(self) -> [Vec<String>; 3] {
        let busy = self.busy.unwrap_or_else(|| self.shared().min(2 * self.first.max(self.each)));
        [
            vec![FIRST.to_owned(), format_size(self.first)],
            vec![BUFFERS.to_owned(), self.count.to_string(), format_size(self.each)],
            vec![BUSY.to_owned(), format_size(busy)],
        ]
    }

    /// Adds the directives.
    pub(super) fn write(self, to: &mut NginxConfigFile<'_>) {
        for words in self.directives() {
            to.add(&words.iter().map(String::as_str).collect::<Vec<_>>());
        }
    }
}

/// Parses the number of buffers, 1 if the directive has none, and their size.
fn parse_sizes(words: &[String]) -> Result<(u64, u64), String> {
    let name = words.first().map_or("", String::as_str);
    let parsed = match words {
        [_, number, size] if name == BUFFERS => number.parse().ok().zip(parse_size(size)),
        [_, size] if name != BUFFERS => parse_size(size).map(|size| (1, size)),
        _ => None,
    };
    let is_bounded = |(number, size): &(u64, u64)| {
        let numbers = if name == BUFFERS { 2..=MAX_BUFFERS } else { 1..=1 };
        numbers.contains(number) && (MIN_BUFFER..=MAX_BUFFERED / number).contains(size)
    };
    parsed.filter(is_bounded).ok_or_else(|| {
        let kilobytes = MAX_BUFFERED >> 10;
        match name {
            BUFFERS => format!(
                "'{name}': from 2 to {MAX_BUFFERS} buffers of at most {kilobytes}k together, such as '16 32k'"
            ),
            _ => format!("'{name}': a size from 1k to {kilobytes}k, such as '64k'"),
        }
    })
}

/// Parses a size in nginx's syntax to bytes.
pub(super) fn parse_size(text: &str) -> Option<u64> {
    let text = text.to_ascii_lowercase();
    let (number, unit) = match text.as_bytes().last()? {
        b'k' => (text.strip_suffix('k')?, 1 << 10),
        b'm' => (text.strip_suffix('m')?, 1 << 20),
        b'g' => (text.strip_suffix('g')?, 1 << 30),
        _ => (text.as_str(), 1),
    };
    let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    number.parse::<u64>().ok().filter(|_| is_number)?.checked_mul(unit)
}

fn format_size(bytes: u64) -> String {
    if bytes % 1024 == 0 { format!("{}k", bytes / 1024) } else { bytes.to_string() }
}

#[cfg(test)]
mod tests {
    use super::super::include::syntax::parse_directives;
    use super::*;

    fn written(text: &str) -> Result<String, (usize, String)> {
        let sizes = ProxyBuffers::default().in_block(&parse_directives(text).unwrap())?;
        let mut to = NginxConfigFile::default();
        sizes.write(&mut to);
        Ok(to.finish().replace(";\n", " ").replace("proxy_", ""))
    }

    #[test]
    fn sizes_that_are_not_set_fit_those_that_are() {
        for (text, sizes) in [
            ("", "buffer_size 32k buffers 8 8k busy_buffers_size 56k "),
            ("proxy_buffer_size 4k;", "buffer_size 4k buffers 8 8k busy_buffers_size 16k "),
            ("proxy_buffer_size 128k;", "buffer_size 128k buffers 8 32k busy_buffers_size 224k "),
            ("proxy_buffers 2 4k;", "buffer_size 4k buffers 2 4k busy_buffers_size 4k "),
            ("proxy_buffers 4 16k;", "buffer_size 32k buffers 4 16k busy_buffers_size 48k "),
            ("proxy_busy_buffers_size 40k;", "buffer_size 32k buffers 8 8k busy_buffers_size 40k "),
            ("proxy_buffer_size 1m;", "buffer_size 1024k buffers 8 256k busy_buffers_size 1792k "),
        ] {
            assert_eq!(written(text).as_deref(), Ok(sizes), "{text}");
        }
    }

    #[test]
    fn sizes_that_contradict_each_other_are_errors_with_a_line() {
        for (text, line) in [
            ("proxy_buffers 8 4k;\nproxy_buffer_size 64k;", 1),
            ("\nproxy_busy_buffers_size 4k;", 2),
            ("proxy_busy_buffers_size 64k;", 1),
            ("proxy_buffers 1 4k;", 1),
            ("proxy_buffers 33 1k;", 1),
            ("proxy_buffers 32 64k;", 1),
            ("proxy_buffers 8;", 1),
            ("proxy_buffer_size 2m;", 1),
            ("proxy_buffer_size 0;", 1),
            ("proxy_buffer_size -1k;", 1),
            ("proxy_buffer_size 99999999999999999999g;", 1),
        ] {
            assert_eq!(written(text).unwrap_err().0, line, "{text}");
        }
    }
}
