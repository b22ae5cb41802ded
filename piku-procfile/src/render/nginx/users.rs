//! Who may see a site that asks for a name and a password.

use super::RenderSettings;
use super::places::path;
use crate::render::values::ValuesReader;

const BASIC_AUTH: &str = "NGINX_BASIC_AUTH";

#[derive(Debug, Clone)]
pub(super) struct PasswordUsers {
    pub(super) path: String,
    /// `NAME:PASSWORD` as nginx reads it.
    pub(super) lines: Vec<String>,
}

/// Reads `NAME:PASSWORD`, blanks between several. A password is as it is typed, or hashed as crypt(3) or nginx knows it.
pub(super) fn read(
    settings: &RenderSettings,
    reader: &mut ValuesReader<'_>,
) -> anyhow::Result<Option<PasswordUsers>> {
    // What they say is never repeated.
    let Some(text) = reader.text(BASIC_AUTH) else { return Ok(None) };
    let mut lines = Vec::new();
    for (at, item) in text.split_whitespace().enumerate() {
        match user(item) {
            Ok(line) => lines.push(line),
            Err(what) => {
                let hint = "an item is NAME:PASSWORD; 'openssl passwd -6' makes a hash, which stands between single quotes";
                reader.refuse(BASIC_AUTH, format!("item {}: {what}", at + 1), Some(hint));
            }
        }
    }
    let Some(path) = path(settings.passwords.as_deref(), "--passwords")? else {
        let hint = "--passwords FILE says where; --print passwords prints it";
        reader.refuse(BASIC_AUTH, "there is no place for the passwords", Some(hint));
        return Ok(None);
    };
    Ok(Some(PasswordUsers { path, lines }))
}

fn user(item: &str) -> Result<String, &'static str> {
    let (name, password) = item.split_once(':').ok_or("it has no ':'")?;
    if name.is_empty() || name.starts_with('#') || name.chars().any(char::is_control) {
        return Err("its name is no good");
    }
    if password.is_empty() || password.chars().any(char::is_control) {
        return Err("its password is empty or has a control character");
    }
    if password.contains(':') {
        return Err("a ':' ends a password: use its hash");
    }
    if password.starts_with('{') {
        let known = ["{PLAIN}", "{SHA}", "{SSHA}"].iter().any(|scheme| password.starts_with(scheme));
        return if known { Ok(item.to_owned()) } else { Err("a hash begins with {SHA}, {SSHA} or '$'") };
    }
    if let Some(hash) = password.strip_prefix('$') {
        let in_hash = |b: u8| b.is_ascii_alphanumeric() || b"./$=,-".contains(&b);
        let scheme = hash.split('$').next().unwrap_or_default();
        let good = hash.bytes().all(in_hash) && hash.matches('$').count() >= 2 && !scheme.is_empty();
        return if good {
            Ok(item.to_owned())
        } else {
            Err("what begins with '$' is a hash, and this is none")
        };
    }
    Ok(format!("{name}:{{PLAIN}}{password}"))
}
