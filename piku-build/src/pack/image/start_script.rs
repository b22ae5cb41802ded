//! Entry point of an image: starts a process type as piku does.

use piku_procfile::command::argv_with_profile;

/// Path of the script in the image.
pub(super) const PATH: &str = "/usr/lib/piku/start";
/// Directory with a file for each process type, which has its command.
pub(super) const PROCESSES: &str = "/usr/lib/piku/processes";
/// Init programs that bases have, the one of Debian's bases first. They pass signals on to the command, exit as it
/// does, and take it behind `--`.
const INITS: [&str; 3] = ["dumb-init", "tini", "catatonit"];

/// Returns the script. With `profile`, a shell sources `.profile.d/*.sh` before each command.
pub(super) fn render(profile: bool) -> String {
    let read_profile = if profile {
        let text = argv_with_profile(&[]).get(2).map_or_else(String::new, |text| quote(text));
        format!("set -- \"$shell\" -c {text} profile \"$@\"\n")
    } else {
        String::new()
    };
    format!(
        r#"#!/bin/sh
# Starts a process of the app as piku does: start TYPE, or start COMMAND ARGUMENT...
cd /app || exit 126
processes={PROCESSES}
shell=/bin/sh
if [ -x /bin/bash ]; then shell=/bin/bash; fi
if [ "$#" -eq 0 ]; then
    echo "start: name a process type or a command; the types are: $(ls "$processes" 2>/dev/null | tr '\n' ' ')" >&2
    exit 2
fi
# A new volume for /data is empty.
if [ -n "$HOME" ] && [ ! -d "$HOME" ]; then mkdir -p -- "$HOME"; fi
if [ "$#" -eq 1 ] && [ -f "$processes/$1" ]; then
    PROC_TYPE=${{PROC_TYPE:-$1}}
    export PROC_TYPE
    set -- "$shell" -c "$(cat "$processes/$1")"
fi
{read_profile}# The kernel passes process 1 only the signals that it handles, and nothing else collects orphans: an init takes its place.
init=
if [ "$$" -eq 1 ]; then
    for name in {names}; do
        if init=$(PATH=/usr/bin:/usr/sbin:/bin:/sbin && command -v "$name"); then break; fi
    done
fi
if [ -n "$init" ]; then exec "$init" -- "$@"; fi
exec "$@"
"#,
        names = INITS.join(" ")
    )
}

fn quote(text: &str) -> String {
    shell_words::quote(text).into_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    #[test]
    fn types_and_commands_start_with_the_profile() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path();
        fs::create_dir_all(top.join("app/.profile.d")).unwrap();
        fs::create_dir(top.join("processes")).unwrap();
        fs::write(top.join("app/.profile.d/a.sh"), "export FROM_PROFILE='a  b'\n").unwrap();
        fs::write(top.join("processes/web"), "printf '[%s]' \"$PROC_TYPE\" \"$FROM_PROFILE\" \"$PORT\"")
            .unwrap();
        let run = |profile: bool, words: &[&str]| {
            let text = render(profile).replace(PROCESSES, &top.join("processes").to_string_lossy());
            let text = text.replace("cd /app", &format!("cd {}", top.join("app").display()));
            fs::write(top.join("start"), text).unwrap();
            let mut command = Command::new("sh");
            command.arg(top.join("start")).args(words).env("PORT", "80").env("HOME", top.join("data/home"));
            let out = command.output().unwrap();
            (out.status.code(), String::from_utf8(out.stdout).unwrap())
        };
        assert_eq!(run(true, &["web"]), (Some(0), "[web][a  b][80]".to_owned()));
        assert_eq!(run(false, &["web"]), (Some(0), "[web][][80]".to_owned()));
        assert!(top.join("data/home").is_dir());
        assert_eq!(run(true, &["sh", "-c", "exit 7"]).0, Some(7));
        assert_eq!(run(true, &["printf", "%s|", "a b", "web"]).1, "a b|web|");
        assert_eq!(run(true, &[]).0, Some(2));
    }
}
