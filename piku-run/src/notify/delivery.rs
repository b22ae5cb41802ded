//! Delivery of a notification by a command, a webhook or a mail. Each has half a minute.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use piku_layout::settings::{NotifySettings, WebhookFormat};
use piku_report::diagnostic::{readable, shorten_text};
use piku_report::user_error::UserError;
use serde_json::json;

use super::journal::ProblemNotification;
use crate::process::installed_program::find_program;

/// Time limit of a delivery, for `timeout`.
const SECONDS: &str = "30";
/// Longest text that is sent.
const MAX_TEXT: usize = 500;

pub(super) const COMMAND: &str = "command";
pub(super) const WEBHOOK: &str = "webhook";
pub(super) const MAIL: &str = "mail";

/// Returns the names of the receivers that are set.
pub(super) fn receivers(settings: &NotifySettings) -> Vec<&'static str> {
    let set = [
        (COMMAND, settings.command.is_some()),
        (WEBHOOK, settings.webhook.is_some()),
        (MAIL, settings.mail.is_some()),
    ];
    set.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name).collect()
}

/// Sends a notification to one receiver; one that is not set any more needs none.
///
/// # Errors
/// Fails if it does not arrive. The error names no secret.
pub(super) fn deliver(
    settings: &NotifySettings,
    receiver: &str,
    notification: &ProblemNotification,
) -> anyhow::Result<()> {
    let notification = ProblemNotification { text: one_line(&notification.text), ..notification.clone() };
    match receiver {
        COMMAND => settings.command.as_ref().map_or(Ok(()), |command| run_command(command, &notification)),
        WEBHOOK if settings.webhook.is_some() => post_webhook(settings, &notification),
        MAIL => settings.mail.as_ref().map_or(Ok(()), |address| send_mail(address.as_str(), &notification)),
        _ => Ok(()),
    }
}

fn run_command(command: &str, notification: &ProblemNotification) -> anyhow::Result<()> {
    let mut text = serde_json::to_vec(notification).context("cannot make JSON of it")?;
    text.push(b'\n');
    feed(&["sh", "-c", command], &text).context("the command of 'notify' failed")
}

fn post_webhook(settings: &NotifySettings, notification: &ProblemNotification) -> anyhow::Result<()> {
    let Some(url) = &settings.webhook else { return Ok(()) };
    if find_program("curl").is_none() {
        return Err(UserError::new("webhooks need curl").hint("sudo apt-get install curl").into());
    }
    let (body, header) = webhook_body(settings.webhook_format(), notification)?;
    let mut file = tempfile::NamedTempFile::new().context("cannot create a file")?;
    file.write_all(&body).context("cannot write the request")?;
    // Not on the command line, which all users can read. Neither text has quotes.
    let config = format!(
        "url = \"{}\"\nheader = \"{header}\"\ndata-binary = \"@{}\"\nsilent\nfail\noutput = \"/dev/null\"\n\
         max-time = 25\nproto = \"=http,https\"\n",
        url.as_str(),
        file.path().display()
    );
    feed(&["curl", "-q", "--config", "-"], config.as_bytes()).context("the webhook of 'notify' failed")
}

/// Returns the body of the request and its header.
fn webhook_body(
    format: WebhookFormat,
    notification: &ProblemNotification,
) -> anyhow::Result<(Vec<u8>, &'static str)> {
    let line = format!("[{}] {}", one_line(&notification.host), notification.text);
    let value = match format {
        WebhookFormat::Ntfy => return Ok((line.into_bytes(), "Title: piku")),
        WebhookFormat::Json => serde_json::to_value(notification)?,
        WebhookFormat::Slack => {
            // Markup would mention people and link to other places.
            json!({ "text": line.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;") })
        }
        WebhookFormat::Discord => json!({ "content": line, "allowed_mentions": { "parse": [] } }),
    };
    Ok((serde_json::to_vec(&value)?, "Content-Type: application/json"))
}

fn send_mail(address: &str, notification: &ProblemNotification) -> anyhow::Result<()> {
    let sendmail = find_program("sendmail").ok_or_else(|| {
        UserError::new("mails need a program 'sendmail'")
            .hint("sudo apt-get install msmtp-mta, and set it up")
    })?;
    let sendmail = sendmail.to_string_lossy();
    feed(&[&sendmail, "-i", "--", address], mail_text(address, notification).as_bytes())
        .context("sendmail failed")
}

/// Returns the mail. The recipient is also an argument of sendmail, which reads none from the text.
fn mail_text(address: &str, notification: &ProblemNotification) -> String {
    let ascii = |text: &str| -> String {
        text.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).collect()
    };
    let host = ascii(&one_line(&notification.host));
    let app = notification.app.as_ref().map_or(String::new(), |app| format!(" {app}:"));
    let event = notification.event.as_str();
    format!(
        "To: {address}\nSubject: [piku {host}]{app} {event}\nMIME-Version: 1.0\n\
         Content-Type: text/plain; charset=utf-8\nAuto-Submitted: auto-generated\n\n{}\n\n{}\n",
        notification.text, notification.at
    )
}

/// Returns the text as one line without control characters, shortened.
fn one_line(text: &str) -> String {
    readable(&shorten_text(text, MAX_TEXT).replace('\t', " "))
}

/// Runs a program with `input` on its stdin and without output.
fn feed(words: &[&str], input: &[u8]) -> anyhow::Result<()> {
    let mut command = Command::new("timeout");
    command.args(["-k", "5", SECONDS]).args(words);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot run 'timeout'")?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read it has its exit status.
        let _ = stdin.write_all(input);
    }
    let status = child.wait().context("cannot wait for it")?;
    ensure!(status.code() != Some(124), "it took more than {SECONDS} seconds");
    ensure!(status.success(), "{status}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host_problem::ProblemKind;
    use crate::notify::journal::ProblemState;

    fn notification(text: &str) -> ProblemNotification {
        ProblemNotification {
            event: ProblemKind::CronFailed,
            state: ProblemState::Begun,
            app: "blog".parse().ok(),
            host: "pi\nBcc: x@y".to_owned(),
            at: "2026-11-29T00:00:00Z".parse().unwrap(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn text_cannot_leave_its_place() {
        let hostile = notification(&one_line("a\r\nBcc: all@test\n.\n<!channel> \"@everyone\" \u{1b}[2J"));
        let mail = mail_text("ops@test", &hostile);
        let (head, body) = mail.split_once("\n\n").unwrap();
        assert_eq!(head.lines().count(), 5, "{head}");
        assert!(!head.contains("\nBcc") && body.lines().count() == 3, "{mail}");
        let (slack, _) = webhook_body(WebhookFormat::Slack, &hostile).unwrap();
        assert!(!String::from_utf8(slack).unwrap().contains('<'));
        let (discord, _) = webhook_body(WebhookFormat::Discord, &hostile).unwrap();
        let discord: serde_json::Value = serde_json::from_slice(&discord).unwrap();
        assert_eq!(discord["allowed_mentions"]["parse"], json!([]));
        let (text, header) = webhook_body(WebhookFormat::Ntfy, &hostile).unwrap();
        assert!(header == "Title: piku" && !text.contains(&b'\n'));
        let long = one_line(&"x".repeat(10_000));
        assert!(long.chars().count() <= MAX_TEXT + 1);
    }

    #[test]
    fn commands_get_one_line_of_json() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let settings = NotifySettings {
            command: Some(format!("cat >>'{}'", out.display())),
            ..NotifySettings::default()
        };
        assert_eq!(receivers(&settings), [COMMAND]);
        deliver(&settings, COMMAND, &notification("it's \"broken\"\nnow")).unwrap();
        let text = std::fs::read_to_string(&out).unwrap();
        assert_eq!(text.lines().count(), 1);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["event"], "cron-failed");
        assert_eq!(value["app"], "blog");
        let failing = NotifySettings { command: Some("exit 3".to_owned()), ..settings };
        assert!(format!("{:#}", deliver(&failing, COMMAND, &notification("x")).unwrap_err()).contains('3'));
    }
}
