//! Formats log lines as syslog messages (RFC 5424).

use crate::log::TailLine;

use super::address::SyslogTransport;

/// Longest datagram that every receiver should accept (RFC 5426, 3.2).
const MAX_DATAGRAM: usize = 2048;
/// Longest message in a stream, below rsyslog's default limit of 8096 bytes.
const MAX_MESSAGE: usize = 8000;
/// Priorities of the user facility: informational for output, notice for remarks of the supervisor.
const OUTPUT_PRIORITY: u8 = 8 + 6;
const REMARK_PRIORITY: u8 = 8 + 5;
/// Longest APP-NAME in the RFC.
const MAX_APP_NAME: usize = 48;

/// HOSTNAME and APP-NAME of the messages.
#[derive(Debug)]
pub(super) struct SyslogOrigin {
    pub(super) host: String,
    pub(super) app: String,
}

impl SyslogOrigin {
    /// Formats and frames a line. A line that is too long for one message becomes several; its bytes stay
    /// unchanged.
    pub(super) fn format_messages(&self, line: &TailLine, transport: SyslogTransport) -> Vec<Vec<u8>> {
        let (priority, kind) =
            if line.is_remark { (REMARK_PRIORITY, "piku") } else { (OUTPUT_PRIORITY, "-") };
        let app = &self.app[..self.app.len().min(MAX_APP_NAME)];
        let TailLine { time, instance, .. } = line;
        let head = format!("<{priority}>1 {time} {} {app} {instance} {kind} - ", self.host);
        let limit = if transport == SyslogTransport::Udp { MAX_DATAGRAM } else { MAX_MESSAGE };
        let space = limit - head.len();
        let mut messages = Vec::new();
        let mut rest = line.text.as_slice();
        loop {
            let (text, more) = rest.split_at(split_index(rest, space));
            messages.push(frame_message(&[head.as_bytes(), text].concat(), transport));
            if more.is_empty() {
                return messages;
            }
            rest = more;
        }
    }
}

fn frame_message(message: &[u8], transport: SyslogTransport) -> Vec<u8> {
    match transport {
        SyslogTransport::Udp => message.to_vec(),
        SyslogTransport::Counted => [format!("{} ", message.len()).as_bytes(), message].concat(),
        SyslogTransport::Lines => [message, b"\n"].concat(),
    }
}

/// Returns how many bytes of the text fit into `space` without splitting a UTF-8 character.
fn split_index(text: &[u8], space: usize) -> usize {
    if text.len() <= space {
        return text.len();
    }
    let continues = |at: &usize| text.get(*at).is_some_and(|b| (0x80..0xc0).contains(b));
    (space - 3..=space).rev().find(|at| !continues(at)).unwrap_or(space)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> SyslogOrigin {
        SyslogOrigin { host: "pi".to_owned(), app: "blog".to_owned() }
    }

    fn line(text: &[u8]) -> TailLine {
        let time = "2026-11-22T10:00:00.123Z".to_owned();
        TailLine { time, instance: "web.1".to_owned(), is_remark: false, text: text.to_vec() }
    }

    #[test]
    fn messages_follow_rfc_5424_in_each_framing() {
        let expected = b"<14>1 2026-11-22T10:00:00.123Z pi blog web.1 - - h\xffi";
        let sent = |transport| origin().format_messages(&line(b"h\xffi"), transport).concat();
        assert_eq!(sent(SyslogTransport::Udp), expected);
        assert_eq!(
            sent(SyslogTransport::Counted),
            [format!("{} ", expected.len()).as_bytes(), expected].concat()
        );
        assert_eq!(sent(SyslogTransport::Lines), [&expected[..], b"\n"].concat());
        let remark = TailLine { is_remark: true, ..line(b"") };
        let sent = origin().format_messages(&remark, SyslogTransport::Udp).concat();
        assert_eq!(sent, b"<13>1 2026-11-22T10:00:00.123Z pi blog web.1 piku - ");
    }

    #[test]
    fn a_long_line_is_split_between_characters() {
        let text = "é".repeat(10_000);
        for (transport, limit) in
            [(SyslogTransport::Udp, MAX_DATAGRAM), (SyslogTransport::Lines, MAX_MESSAGE + 1)]
        {
            let messages = origin().format_messages(&line(text.as_bytes()), transport);
            let texts: Vec<String> = messages
                .iter()
                .map(|message| {
                    assert!(message.len() <= limit);
                    let message = std::str::from_utf8(message).unwrap();
                    message.split_once("web.1 - - ").unwrap().1.trim_end().to_owned()
                })
                .collect();
            assert_eq!(texts.concat(), text);
        }
        // Bytes that are not UTF-8 are split at the limit.
        let messages = origin().format_messages(&line(&[0x80; 5000]), SyslogTransport::Udp);
        assert!(messages.iter().all(|message| message.len() <= MAX_DATAGRAM));
    }
}
