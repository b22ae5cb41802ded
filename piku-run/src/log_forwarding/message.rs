//! A line of a log as messages of syslog, RFC 5424.

use crate::log::TailLine;

use super::address::SyslogTransport;

/// The most that every receiver of datagrams should take (RFC 5426, 3.2), and what one of streams takes when nobody has told
/// it otherwise (rsyslog: 8096).
const DATAGRAM: usize = 2048;
const MESSAGE: usize = 8000;
/// User-level messages: informational for what a worker says, a notice for what piku says of it.
const SAID: u8 = 8 + 6;
const REMARK: u8 = 8 + 5;
/// The longest APP-NAME.
const NAME: usize = 48;

/// Who speaks: HOSTNAME and APP-NAME.
#[derive(Debug)]
pub(super) struct SyslogOrigin {
    pub(super) host: String,
    pub(super) app: String,
}

impl SyslogOrigin {
    /// The messages of a line, ready to be sent: a line that is longer than receivers take becomes several. The bytes of the
    /// worker stay as they are.
    pub(super) fn messages(&self, line: &TailLine, transport: SyslogTransport) -> Vec<Vec<u8>> {
        let (priority, kind) = if line.is_remark { (REMARK, "piku") } else { (SAID, "-") };
        let app = &self.app[..self.app.len().min(NAME)];
        let TailLine { time, instance, .. } = line;
        let head = format!("<{priority}>1 {time} {} {app} {instance} {kind} - ", self.host);
        let room = if transport == SyslogTransport::Udp { DATAGRAM } else { MESSAGE } - head.len();
        let mut messages = Vec::new();
        let mut rest = line.text.as_slice();
        loop {
            let (text, more) = rest.split_at(fitting(rest, room));
            messages.push(framed(&[head.as_bytes(), text].concat(), transport));
            if more.is_empty() {
                return messages;
            }
            rest = more;
        }
    }
}

fn framed(message: &[u8], transport: SyslogTransport) -> Vec<u8> {
    match transport {
        SyslogTransport::Udp => message.to_vec(),
        SyslogTransport::Counted => [format!("{} ", message.len()).as_bytes(), message].concat(),
        SyslogTransport::Lines => [message, b"\n"].concat(),
    }
}

/// As much as has room, and no character cut in two.
fn fitting(text: &[u8], room: usize) -> usize {
    if text.len() <= room {
        return text.len();
    }
    let continues = |at: &usize| text.get(*at).is_some_and(|b| (0x80..0xc0).contains(b));
    (room - 3..=room).rev().find(|at| !continues(at)).unwrap_or(room)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speaker() -> SyslogOrigin {
        SyslogOrigin { host: "pi".to_owned(), app: "blog".to_owned() }
    }

    fn line(text: &[u8]) -> TailLine {
        let time = "2026-11-22T10:00:00.123Z".to_owned();
        TailLine { time, instance: "web.1".to_owned(), is_remark: false, text: text.to_vec() }
    }

    #[test]
    fn the_form_of_rfc_5424_in_each_frame() {
        let expected = b"<14>1 2026-11-22T10:00:00.123Z pi blog web.1 - - h\xffi";
        let sent = |transport| speaker().messages(&line(b"h\xffi"), transport).concat();
        assert_eq!(sent(SyslogTransport::Udp), expected);
        assert_eq!(
            sent(SyslogTransport::Counted),
            [format!("{} ", expected.len()).as_bytes(), expected].concat()
        );
        assert_eq!(sent(SyslogTransport::Lines), [&expected[..], b"\n"].concat());
        let remark = TailLine { is_remark: true, ..line(b"") };
        let sent = speaker().messages(&remark, SyslogTransport::Udp).concat();
        assert_eq!(sent, b"<13>1 2026-11-22T10:00:00.123Z pi blog web.1 piku - ");
    }

    #[test]
    fn a_long_line_is_several_messages_and_no_character_is_cut() {
        let text = "é".repeat(10_000);
        for (transport, most) in [(SyslogTransport::Udp, DATAGRAM), (SyslogTransport::Lines, MESSAGE + 1)] {
            let messages = speaker().messages(&line(text.as_bytes()), transport);
            let texts: Vec<String> = messages
                .iter()
                .map(|message| {
                    assert!(message.len() <= most);
                    let message = std::str::from_utf8(message).unwrap();
                    message.split_once("web.1 - - ").unwrap().1.trim_end().to_owned()
                })
                .collect();
            assert_eq!(texts.concat(), text);
        }
        // What is no text is cut where it must be.
        let messages = speaker().messages(&line(&[0x80; 5000]), SyslogTransport::Udp);
        assert!(messages.iter().all(|message| message.len() <= DATAGRAM));
    }
}
