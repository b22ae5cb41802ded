//! Plain command lines, such as [`crate::jail::JailSpec`] writes them, parsed without clap: long options with
//! their values, and the command after `--`. Every start of a worker has such a line, and building clap's
//! description of all options takes longer than parsing it.
//!
//! Whatever is not plain or not valid is left to clap, which knows the rest and explains errors.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::str::FromStr;

use clap::ValueEnum;

use super::values::{parse_kept_path, parse_oom_score, parse_port};
use super::{BindPair, ChrootCli, TmpfsMount};

/// Parses the words after the program's name; `None` if they are not plain or not valid.
pub(super) fn parse(words: &[OsString]) -> Option<ChrootCli> {
    let end = words.iter().position(|word| word == "--")?;
    let (options, command) = (&words[..end], &words[end + 1..]);
    let mut cli = ChrootCli { command: command.to_vec(), ..ChrootCli::default() };
    let mut words = options.iter();
    while let Some(word) = words.next() {
        let word = word.as_bytes();
        if let Some(at) = word.iter().position(|byte| *byte == b'=') {
            let value = OsStr::from_bytes(&word[at + 1..]);
            take_value(&mut cli, &word[..at], Some(value).filter(|value| !value.is_empty())?)?;
        } else if take_flag(&mut cli, word).is_none() {
            take_value(&mut cli, word, words.next().filter(|value| is_own_word(value))?)?;
        }
    }
    is_consistent(&cli).then_some(cli)
}

/// Returns whether clap takes this word for the value of the option before it.
fn is_own_word(value: &OsStr) -> bool {
    !value.is_empty() && !value.as_bytes().starts_with(b"-")
}

fn take_flag(cli: &mut ChrootCli, name: &[u8]) -> Option<()> {
    let flag = match name {
        b"--root-from-host" => &mut cli.root_from_host,
        b"--keep-only" => &mut cli.keep_only,
        b"--remove-in-background" => &mut cli.remove_in_background,
        b"--give-back" => &mut cli.give_back,
        b"--prepare" => &mut cli.prepare,
        b"--gate" => &mut cli.gate,
        b"--tty" => &mut cli.tty,
        _ => return None,
    };
    (!std::mem::replace(flag, true)).then_some(())
}

fn take_value(cli: &mut ChrootCli, name: &[u8], value: &OsStr) -> Option<()> {
    match name {
        b"--profile" => set(&mut cli.profile, ValueEnum::from_str(value.to_str()?, false).ok()),
        b"--app" => set(&mut cli.app, Some(value.into())),
        b"--data" => set(&mut cli.data, Some(value.into())),
        b"--report" => set(&mut cli.report, Some(value.into())),
        b"--scratch" => set(&mut cli.scratch, Some(value.into())),
        b"--chdir" => set(&mut cli.chdir, Some(value.into())),
        b"--uid-registry" => set(&mut cli.uid_registry, Some(value.into())),
        b"--uid-range" => set(&mut cli.uid_range, Some(value.into())),
        b"--hostname" => set(&mut cli.hostname, Some(value.into())),
        b"--env-prefix" => set(&mut cli.env_prefix, Some(value.into())),
        b"--tell-discarded" => set(&mut cli.tell_discarded, Some(value.to_str()?.to_owned())),
        b"--tmp-size" => set(&mut cli.tmp_size, parse_text(value)),
        b"--net" => set(&mut cli.net, ValueEnum::from_str(value.to_str()?, false).ok()),
        b"--oom-score-adj" => set(&mut cli.oom_score_adj, parse_oom_score(value.to_str()?).ok()),
        b"--prepared" => set(&mut cli.prepared, parse_text(value).filter(|fd| *fd > 2)),
        b"--die-with" => set(&mut cli.die_with, parse_text(value).filter(|pid| *pid > 0)),
        b"--ro" => add(&mut cli.ro, BindPair::parse(value).ok()),
        b"--bind" => add(&mut cli.bind, BindPair::parse(value).ok()),
        b"--grant" => add(&mut cli.grant, BindPair::parse(value).ok()),
        b"--grant-ro" => add(&mut cli.grant_ro, BindPair::parse(value).ok()),
        b"--grant-device" => add(&mut cli.grant_device, BindPair::parse(value).ok()),
        b"--tmpfs" => add(&mut cli.tmpfs, TmpfsMount::parse(value).ok()),
        b"--group" => add(&mut cli.group, parse_text(value)),
        b"--keep" => add(&mut cli.keep, parse_kept_path(value).ok()),
        b"--limit" => add(&mut cli.limit, parse_text(value)),
        b"--listen" => add(&mut cli.listen, parse_port(value.to_str()?).ok()),
        b"--connect" => add(&mut cli.connect, parse_port(value.to_str()?).ok()),
        b"--require" => add(&mut cli.require, parse_text(value)),
        _ => None,
    }
}

fn parse_text<T: FromStr>(value: &OsStr) -> Option<T> {
    value.to_str()?.parse().ok()
}

/// Sets an option that may be given once.
fn set<T>(option: &mut Option<T>, value: Option<T>) -> Option<()> {
    option.replace(value?).is_none().then_some(())
}

fn add<T>(option: &mut Vec<T>, value: Option<T>) -> Option<()> {
    option.push(value?);
    Some(())
}

/// Returns whether the options do not conflict and have what they need, as far as clap checks that.
fn is_consistent(cli: &ChrootCli) -> bool {
    let has_command = !cli.command.is_empty() || cli.give_back || cli.prepare;
    let has_overlay = cli.scratch.is_some();
    let can_keep = has_overlay && cli.app.is_some() && cli.data.is_some();
    has_command
        && (cli.group.is_empty() || cli.uid_range.is_some())
        && (cli.keep.is_empty() || can_keep)
        && (!cli.keep_only || !cli.keep.is_empty())
        && (cli.tell_discarded.is_none() || has_overlay)
        && (!cli.remove_in_background || has_overlay)
        && !(cli.gate && cli.tty)
        && !(cli.give_back && (cli.prepared.is_some() || cli.prepare))
        && !(cli.prepare && (cli.prepared.is_some() || !cli.command.is_empty()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::os::fd::AsFd;
    use std::path::Path;

    use clap::Parser;
    use piku_layout::settings::Protection;
    use piku_layout::writable_path::WritablePath;

    use super::*;
    use crate::jail::JailSpec;
    use crate::profile::BuiltinProfile;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(Into::into).collect()
    }

    /// Returns what clap makes of the same words.
    fn by_clap(line: &str) -> Option<ChrootCli> {
        let words = words(line);
        ChrootCli::try_parse_from([OsString::from("piku-chroot")].iter().chain(&words)).ok()
    }

    #[test]
    fn plain_lines_mean_the_same_to_clap() {
        for line in [
            "--root-from-host -- true",
            "--profile run --app /a --data /d=e --gate -- true --app /b",
            "--ro /a:/b --limit memory=5m --listen 5000 --tty --hostname=h -- x",
            "--profile=run --app=/a --data=/d --scratch=/s --keep=db/ --keep-only --tell-discarded=X --remove-in-background --gate -- a --b=c --",
            r"--profile=build --ro=/a\:b:/c --ro=/d:/e --bind=/f:/g --chdir=/app --env-prefix=P_ --die-with=7 --tty -- x",
            "--root-from-host --uid-range=a --uid-registry=/r --group=5 --group=6 --grant=/a:/a --grant-ro=/b:/b -- x",
            "--uid-range=a --give-back --data=/d --",
            "--uid-range=a --group=5 --prepare --",
            "--uid-range=a --prepared=3 -- x",
            "--limit=memory=512m,pids=5 --limit=cpu=0.5 --tmp-size=5% --net=own --listen=0 --listen=5000 --connect=15400 -- x",
            "--require=seccomp --require=landlock --report=/r --hostname=h --oom-score-adj=5 --grant-device=/dev/x:/dev/x -- x",
        ] {
            let parsed = parse(&words(line));
            assert!(parsed.is_some(), "{line}");
            assert_eq!(parsed, by_clap(line), "{line}");
        }
    }

    /// Otherwise every start of a worker would build clap's description of all options.
    #[test]
    fn lines_of_jails_are_plain() {
        let path = Path::new("/a:b");
        let kept = [WritablePath::parse(OsStr::new("db/")).unwrap()];
        let null = std::fs::File::open("/dev/null").unwrap();
        let overlay = JailSpec::profile(BuiltinProfile::Run)
            .app(path)
            .data(path)
            .scratch(path)
            .keep(&kept)
            .keep_only()
            .tell_discarded("WRITABLE_PATHS")
            .remove_in_background()
            .own_user("blog", path)
            .group(5)
            .prepared(null.as_fd())
            .gate();
        let mounts = JailSpec::new()
            .bind(path, path)
            .ro(path, path)
            .grant_device(path, path)
            .grant(path, path)
            .grant_ro(path, path)
            .no_network()
            .tty();
        let others = JailSpec::profile(BuiltinProfile::Build)
            .no_own_user("blog", path)
            .chdir(path)
            .hostname("blog")
            .limit("memory=512m,pids=100")
            .tmp_size("64m")
            .report(path)
            .listen(0)
            .listen(5000)
            .connect(15400)
            .require(&[Protection::Namespaces, Protection::Seccomp])
            .own_network()
            .die_with_caller();
        let mut options = BTreeSet::new();
        for jail in [overlay, mounts, others] {
            let prepare = jail.to_prepared(Some("/app")).map(|spec| spec.command());
            let command = jail.command([("A", "b")], &["true".to_owned()]);
            for command in prepare.into_iter().chain([command]) {
                let words: Vec<OsString> = command.get_args().map(OsStr::to_owned).collect();
                let parsed = parse(&words);
                assert!(parsed.is_some(), "{words:?}");
                let by_clap = ChrootCli::try_parse_from([OsString::from("piku-chroot")].iter().chain(&words));
                assert_eq!(parsed, by_clap.ok(), "{words:?}");
                let names =
                    words.iter().filter_map(|word| word.to_str()?.split('=').next().map(str::to_owned));
                options.extend(names.filter(|name| name.starts_with("--")));
            }
        }
        // Every option that a jail can have is among them.
        let source = include_str!("../jail/mod.rs").split("#[cfg(test)]").next().unwrap();
        let built = source.split('"').filter(|word| word.starts_with("--") && word.len() > 2);
        for option in built.filter_map(|word| word.split('=').next()) {
            assert!(options.contains(option), "{option}");
        }
    }

    #[test]
    fn what_is_plain_means_the_same_to_clap_in_any_order() {
        const PARTS: [&str; 16] = [
            "--app",
            "/a",
            "--app=/a",
            "--app=",
            "--gate",
            "--gate=",
            "--listen",
            "80",
            "--oom-score-adj",
            "-5",
            "-",
            "--keep-env",
            "=",
            "--data==/d",
            "--",
            "--tty",
        ];
        let count = PARTS.len();
        let mut plain = 0;
        for at in 0..count.pow(3) {
            let parts = [PARTS[at / count / count], PARTS[at / count % count], PARTS[at % count]];
            let line = format!("{} -- true", parts.join(" "));
            if let Some(parsed) = parse(&words(&line)) {
                plain += 1;
                assert_eq!(Some(parsed), by_clap(&line), "{line}");
            }
        }
        assert!(plain > 100, "{plain}");
    }

    #[test]
    fn what_clap_refuses_is_not_plain() {
        for line in [
            "true",
            "--gate --tty -- true",
            "--gate --gate -- true",
            "--app=/a --app=/b -- true",
            "--app= -- true",
            "--app -- true",
            "--app --tty -- true",
            "--app -d -- true",
            "--app /a --app=/b -- true",
            "--app /a /b -- true",
            "--gate /a -- true",
            "--oom-score-adj -5 -- true",
            "/a -- true",
            "--group=5 -- true",
            "--uid-range=a --prepared=2 -- true",
            "--uid-range=a --prepared=3 --give-back --data=/d -- true",
            "--uid-range=a --prepare -- true",
            "--uid-range=a --prepare --prepared=3 --",
            "--keep=db --scratch=/s -- true",
            "--keep-only --scratch=/s -- true",
            "--tell-discarded=X -- true",
            "--remove-in-background -- true",
            "--profile=other -- true",
            "--die-with=0 -- true",
            "--ro=/a -- true",
            "--listen=+5 -- true",
            "--app=/a --",
            "--odd=1 -- true",
        ] {
            assert_eq!(parse(&words(line)), None, "{line}");
            assert_eq!(by_clap(line), None, "{line}");
        }
        // These are for clap alone.
        for line in ["--check", "--env A=b -- true", "--env=A=b -- true", "--strict -- true"] {
            assert_eq!(parse(&words(line)), None, "{line}");
            assert!(by_clap(line).is_some(), "{line}");
        }
    }
}
