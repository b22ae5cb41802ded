//! `notify` in `host.yaml`: how the operator is told of failures.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Ways in which the operator is told. All that are set are used.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NotifySettings {
    /// Shell command that gets a JSON object on stdin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// URL that gets a POST request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookUrl>,
    /// Body of the request; without it, what the URL's service expects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<WebhookFormat>,
    /// Receiver of mails, which the machine's sendmail sends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mail: Option<MailAddress>,
}

impl NotifySettings {
    /// Returns true if no receiver is set.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.command.is_none() && self.webhook.is_none() && self.mail.is_none()
    }

    /// Returns the format of the webhook's body.
    #[must_use]
    pub fn webhook_format(&self) -> WebhookFormat {
        let url = self.webhook.as_ref().map_or("", WebhookUrl::as_str);
        let host = url.split('/').nth(2).unwrap_or_default();
        self.format.unwrap_or(match host {
            "hooks.slack.com" => WebhookFormat::Slack,
            "discord.com" | "discordapp.com" => WebhookFormat::Discord,
            "ntfy.sh" => WebhookFormat::Ntfy,
            _ => WebhookFormat::Json,
        })
    }
}

/// Body of a webhook's request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WebhookFormat {
    /// The object that a command gets.
    Json,
    /// `{"text": …}`, as for Slack and Mattermost.
    Slack,
    /// `{"content": …}`.
    Discord,
    /// The text itself, with a title in a header.
    Ntfy,
}

/// URL of a webhook. It is a secret: `Debug` hides it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WebhookUrl(String);

impl WebhookUrl {
    /// Returns the text, without blanks, quotes and control characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookUrl(…)")
    }
}

impl TryFrom<String> for WebhookUrl {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let is_url = text.starts_with("https://") || text.starts_with("http://");
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\"\\'".contains(&byte);
        let is_good = is_url && text.len() <= 2000 && text.bytes().all(is_plain);
        if is_good { Ok(Self(text)) } else { Err("webhook: expected a URL, https://…") }
    }
}

impl From<WebhookUrl> for String {
    fn from(url: WebhookUrl) -> Self {
        url.0
    }
}

/// Address of a mailbox, or the name of a local one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MailAddress(String);

impl MailAddress {
    /// Returns the text: letters, digits and `@._+-`, not beginning with `-`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for MailAddress {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"@._+-".contains(&byte);
        let is_good =
            !text.is_empty() && !text.starts_with('-') && text.len() <= 254 && text.bytes().all(is_plain);
        if is_good { Ok(Self(text)) } else { Err("mail: expected one address, such as ops@example.org") }
    }
}

impl From<MailAddress> for String {
    fn from(address: MailAddress) -> Self {
        address.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_checked() {
        let read = |text: &str| serde_yaml::from_str::<NotifySettings>(text);
        for (url, format) in [
            ("https://hooks.slack.com/services/T/B/x", WebhookFormat::Slack),
            ("https://discord.com/api/webhooks/1/x", WebhookFormat::Discord),
            ("https://ntfy.sh/topic", WebhookFormat::Ntfy),
            ("https://tell.test/?a=b&c=d", WebhookFormat::Json),
        ] {
            let settings = read(&format!("webhook: {url}")).unwrap();
            assert_eq!(settings.webhook_format(), format);
            assert!(!settings.is_off() && !format!("{settings:?}").contains(url));
        }
        let chosen = read("{webhook: 'https://chat.test/hooks/x', format: slack}").unwrap();
        assert_eq!(chosen.webhook_format(), WebhookFormat::Slack);
        for bad in [
            "webhook: ftp://x",
            "webhook: \"https://x\\n-o /etc/passwd\"",
            "webhook: 'https://x\"'",
            "mail: -t",
            "mail: 'a@b, c@d'",
            "mail: \"a@b\\nBcc: c@d\"",
            "format: teams",
            "nonsense: 1",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(NotifySettings::default().is_off());
    }
}
