//! The names and passwords of `NGINX_BASIC_AUTH`.

use crate::render::app_values::ValuesReader;
use crate::render::nginx::RenderSettings;
use crate::render::nginx::paths::to_nginx_path;

const BASIC_AUTH: &str = "NGINX_BASIC_AUTH";

#[derive(Debug, Clone)]
pub(in crate::render::nginx) struct PasswordFile {
    pub(in crate::render::nginx) path: String,
    /// `NAME:PASSWORD` in the form that nginx reads.
    pub(in crate::render::nginx) lines: Vec<String>,
}

/// Parses `NAME:PASSWORD` items separated by blanks. A password is plain text or a hash that crypt(3) or
/// nginx understands.
pub(super) fn parse_basic_auth(
    settings: &RenderSettings,
    reader: &mut ValuesReader<'_>,
) -> anyhow::Result<Option<PasswordFile>> {
    // Messages never repeat an item.
    let Some(text) = reader.text(BASIC_AUTH) else { return Ok(None) };
    let mut lines = Vec::new();
    for (at, item) in text.split_whitespace().enumerate() {
        match parse_user(item) {
            Ok(line) => lines.push(line),
            Err(what) => {
                let hint = "write NAME:PASSWORD; put a hash from 'openssl passwd -6' between single quotes";
                reader.add_error(BASIC_AUTH, format!("item {}: {what}", at + 1), Some(hint));
            }
        }
    }
    let Some(path) = to_nginx_path(settings.passwords.as_deref(), "--passwords")? else {
        let hint = "name it with --passwords FILE; --print passwords prints its content";
        reader.add_error(BASIC_AUTH, "the path of the password file is not known", Some(hint));
        return Ok(None);
    };
    Ok(Some(PasswordFile { path, lines }))
}

fn parse_user(item: &str) -> Result<String, &'static str> {
    let (name, password) = item.split_once(':').ok_or("it has no ':'")?;
    if name.is_empty() || name.starts_with('#') || name.chars().any(char::is_control) {
        return Err("its name is empty, begins with '#' or has a control character");
    }
    if password.is_empty() || password.chars().any(char::is_control) {
        return Err("its password is empty or has a control character");
    }
    if password.contains(':') {
        return Err("a password cannot contain ':': use its hash");
    }
    if password.starts_with('{') {
        let known = ["{PLAIN}", "{SHA}", "{SSHA}"].iter().any(|scheme| password.starts_with(scheme));
        return if known { Ok(item.to_owned()) } else { Err("a hash must begin with {SHA}, {SSHA} or '$'") };
    }
    if let Some(hash) = password.strip_prefix('$') {
        let in_hash = |b: u8| b.is_ascii_alphanumeric() || b"./$=,-".contains(&b);
        let scheme = hash.split('$').next().unwrap_or_default();
        let good = hash.bytes().all(in_hash) && hash.matches('$').count() >= 2 && !scheme.is_empty();
        return if good { Ok(item.to_owned()) } else { Err("it begins with '$' but is not a hash") };
    }
    Ok(format!("{name}:{{PLAIN}}{password}"))
}
