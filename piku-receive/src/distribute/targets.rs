//! `targets`: groups the hosts of an app by platform before the build, which runs once for each.
//!
//! Prints a line for each platform, `ARCHITECTURE must|may HOST…`, first that of this host, named `here`.
//! Unreachable hosts are left out, or listed as `!HOST` in the first line, if they get the release later.

#![expect(
    clippy::disallowed_methods,
    reason = "the list that this tool has written, in a directory of the hook"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{ExitCode, Stdio};

use anyhow::{Context, ensure};
use piku_layout::settings::DeployTo;
use piku_report::diagnostic::{readable, shorten_text};
use piku_report::output;
use piku_report::progress;
use piku_report::user_error::UserError;
use serde::{Deserialize, Serialize};

use super::target_host::TargetHost;
use super::{for_each_healthy, report_results};
use crate::app_context::AppContext;

/// Name of this host in the list.
const HERE: &str = "here";
/// Largest number of Pythons of a host, more than any has.
const MOST_PYTHONS: usize = 32;
/// Longest reason of a host, in characters.
const LONGEST_REASON: usize = 300;
/// Prefix of a host that is down and is left out.
const DOWN: char = '!';

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct TargetFacts {
    /// As `uname -m` prints it.
    pub(super) architecture: String,
    #[serde(default)]
    glibc: Option<String>,
    #[serde(default)]
    python: Vec<String>,
    /// Reason for which it would refuse a release of the app.
    #[serde(default)]
    refuses: Option<String>,
}

impl TargetFacts {
    /// Parses a response. Only plain words pass: they become arguments of a build.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        let facts: Self = serde_json::from_str(text).context("its response is not valid")?;
        let is_word = |word: &String| {
            word.len() <= 32
                && word.starts_with(|first: char| first.is_ascii_alphanumeric())
                && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._".contains(&byte))
        };
        let words = facts.python.iter().chain(&facts.glibc).chain([&facts.architecture]);
        // `any` names a release for every platform.
        ensure!(
            words.into_iter().all(is_word)
                && facts.architecture != "any"
                && facts.python.len() <= MOST_PYTHONS,
            "its response does not describe a machine"
        );
        Ok(facts)
    }

    /// Fails with the reason for which the host would refuse any release.
    fn check_ready(&self) -> anyhow::Result<()> {
        match &self.refuses {
            Some(why) => {
                Err(UserError::new(shorten_text(&readable(why), LONGEST_REASON).into_owned()).into())
            }
            None => Ok(()),
        }
    }

    /// Returns the platform for messages.
    fn describe(&self) -> String {
        let mut text = self.architecture.clone();
        if let Some(glibc) = &self.glibc {
            text.push_str(", glibc ");
            text.push_str(glibc);
        }
        if !self.python.is_empty() {
            text.push_str(", Python ");
            text.push_str(&self.python.join(" and "));
        }
        text
    }
}

/// Asks all hosts and prints the list.
pub(super) fn print_targets(
    context: &AppContext<'_>,
    to: &DeployTo,
    file: Option<&Path>,
) -> anyhow::Result<ExitCode> {
    // A cluster is named in place of this machine, which sends the image there. Nodes of other architectures run a
    // release that is not native.
    let cluster = to.cluster()?;
    if cluster.is_some() {
        write_asked(file, &AskedMachines::new(to, &[]))?;
    }
    if let Some(named) = cluster.and_then(|cluster| cluster.architecture.first()) {
        output::write(format!("{named} must {HERE}\n").as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let own = read_own_facts(context)?;
    if to.machines.is_empty() {
        output::write(format!("{} must {HERE}\n", own.architecture).as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut machines: Vec<TargetHost<'_>> =
        to.machines.iter().map(|machine| TargetHost::new(context.app, machine, to)).collect();
    for_each_healthy(&mut machines, |machine| {
        machine.ask_facts(&own)?;
        machine.facts.as_ref().map_or(Ok(()), TargetFacts::check_ready)
    });
    for machine in &machines {
        if let Some(facts) = &machine.facts {
            progress::step(&format!("{} is {}", machine.name, facts.describe()));
        }
    }
    let is_any_left = to.here || machines.iter().any(|machine| machine.failure.is_none());
    if to.all_or_nothing && machines.iter().any(TargetHost::has_failed) || !is_any_left {
        return Ok(report_results(to, &machines, "nothing was built"));
    }
    for machine in machines.iter().filter(|machine| machine.failure.is_some()) {
        let why = machine.failure.as_deref().unwrap_or_default();
        let then =
            if machine.is_down { "it gets the release when it is back" } else { "the others continue" };
        progress::error(&format!("{}: {why}; {then}", machine.name));
    }
    let list =
        KindList::group_by_kind(to.here.then_some(own.architecture.as_str()), &machines, to.all_or_nothing);
    if list.kinds.len() > 1 {
        let kinds: Vec<_> = list.kinds.iter().map(|kind| kind.architecture.as_str()).collect();
        progress::step(&format!("Building a release for each of {}", kinds.join(", ")));
    }
    write_asked(file, &AskedMachines::new(to, &machines))?;
    output::write(list.render().as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the answers of the hosts to the file, if one is asked for.
fn write_asked(file: Option<&Path>, asked: &AskedMachines<'_>) -> anyhow::Result<()> {
    let Some(file) = file else { return Ok(()) };
    let text = serde_json::to_vec(asked)?;
    fs::write(file, text).with_context(|| format!("cannot write '{}'", file.display()))
}

/// Answers of the hosts, for the plan of `piku-build`.
#[derive(Serialize)]
struct AskedMachines<'a> {
    here: bool,
    all_or_nothing: bool,
    machines: Vec<AskedMachine<'a>>,
    in_cluster: bool,
}

#[derive(Serialize)]
struct AskedMachine<'a> {
    name: &'a str,
    python: &'a [String],
}

impl<'a> AskedMachines<'a> {
    fn new(to: &DeployTo, machines: &'a [TargetHost<'_>]) -> Self {
        let usable = machines.iter().filter(|machine| machine.failure.is_none());
        let asked = usable.filter_map(|machine| {
            Some(AskedMachine { name: &machine.name, python: &machine.facts.as_ref()?.python })
        });
        let in_cluster = to.kubernetes.is_some();
        Self { here: to.here, all_or_nothing: to.all_or_nothing, machines: asked.collect(), in_cluster }
    }
}

/// Reads the platform of this host from `piku-build machine`.
pub(super) fn read_own_facts(context: &AppContext<'_>) -> anyhow::Result<TargetFacts> {
    let asked = context
        .command("piku-build")?
        .args(["machine", "--format", "json", "--settings"])
        .arg(context.root.settings())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run 'piku-build machine'")?;
    ensure!(asked.status.success(), "'piku-build machine' failed");
    TargetFacts::parse(&String::from_utf8_lossy(&asked.stdout))
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct MachineKind {
    architecture: String,
    /// True if a failed build for this platform fails the deploy.
    must: bool,
    machines: Vec<String>,
}

/// All platforms, that of this host first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct KindList {
    kinds: Vec<MachineKind>,
}

impl KindList {
    fn group_by_kind(here: Option<&str>, machines: &[TargetHost<'_>], all: bool) -> Self {
        let own = here.map(|own| (own.to_owned(), HERE.to_owned()));
        let others = machines.iter().filter_map(|machine| {
            Some((machine.facts.as_ref()?.architecture.clone(), machine.address.to_string()))
        });
        let mut list = Self::default();
        for (architecture, name) in own.into_iter().chain(others) {
            if let Some(kind) = list.kinds.iter_mut().find(|kind| kind.architecture == architecture) {
                kind.machines.push(name);
            } else {
                let must = all || name == HERE;
                list.kinds.push(MachineKind { architecture, must, machines: vec![name] });
            }
        }
        // A host that is down counts as one of the first kind, but nothing is sent to it.
        let down = machines.iter().filter(|machine| machine.is_down);
        if let Some(first) = list.kinds.first_mut() {
            first.machines.extend(down.map(|machine| format!("{DOWN}{}", machine.address)));
        }
        // The only build must succeed.
        if let [only] = list.kinds.as_mut_slice() {
            only.must = true;
        }
        list
    }

    fn render(&self) -> String {
        let line = |kind: &MachineKind| {
            let need = if kind.must { "must" } else { "may" };
            format!("{} {need} {}\n", kind.architecture, kind.machines.join(" "))
        };
        self.kinds.iter().map(line).collect()
    }

    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read '{}'", path.display()))?;
        Self::parse(&text).with_context(|| format!("bad list of machines in '{}'", path.display()))
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let kinds = text.lines().map(|line| {
            let mut words = line.split(' ').map(str::to_owned);
            let (Some(architecture), Some(need)) = (words.next(), words.next()) else {
                anyhow::bail!("a line has fewer than two words");
            };
            ensure!(["must", "may"].contains(&need.as_str()), "'{need}' is neither 'must' nor 'may'");
            Ok(MachineKind { architecture, must: need == "must", machines: words.collect() })
        });
        Ok(Self { kinds: kinds.collect::<anyhow::Result<_>>()? })
    }

    /// Returns true if the host was down when it was asked.
    pub(super) fn is_down(&self, address: &str) -> bool {
        let mut all = self.kinds.iter().flat_map(|kind| &kind.machines);
        all.any(|machine| machine.strip_prefix(DOWN) == Some(address))
    }

    /// Returns the architecture of each host, by its address.
    pub(super) fn by_machine(&self) -> BTreeMap<&str, &str> {
        let mut found = BTreeMap::new();
        for kind in &self.kinds {
            found.extend(kind.machines.iter().map(|machine| (machine.as_str(), kind.architecture.as_str())));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use piku_layout::settings;

    fn list(here: Option<&str>, all: bool, of: &[(&str, Option<&str>)]) -> String {
        let app = "blog".parse().unwrap();
        let to = DeployTo::default();
        let addresses: Vec<settings::MachineAddress> =
            of.iter().map(|(name, _)| name.parse().unwrap()).collect();
        let machines: Vec<_> = addresses
            .iter()
            .zip(of)
            .map(|(address, (_, architecture))| {
                let mut machine = TargetHost::new(&app, address, &to);
                machine.facts = architecture
                    .map(|name| TargetFacts::parse(&format!("{{\"architecture\": \"{name}\"}}")).unwrap());
                machine
            })
            .collect();
        let list = KindList::group_by_kind(here, &machines, all);
        assert_eq!(KindList::parse(&list.render()).unwrap(), list);
        list.render()
    }

    #[test]
    fn machines_are_listed_by_kind_and_this_one_first() {
        let two = [("piku@pi-1", Some("armv7l")), ("piku@pc", Some("x86_64")), ("pi-2:22", Some("armv7l"))];
        assert_eq!(
            list(Some("x86_64"), false, &two),
            "x86_64 must here piku@pc\narmv7l may piku@pi-1 pi-2:22\n"
        );
        assert_eq!(list(None, false, &two), "armv7l may piku@pi-1 pi-2:22\nx86_64 may piku@pc\n");
        assert_eq!(list(None, true, &two), "armv7l must piku@pi-1 pi-2:22\nx86_64 must piku@pc\n");
        // Unreachable hosts are left out; a single platform must be built.
        assert_eq!(list(None, false, &[("a", Some("aarch64")), ("b", None)]), "aarch64 must a\n");
        let read = KindList::parse("x86_64 must here piku@pc\narmv7l may pi\n").unwrap();
        assert_eq!(read.by_machine().get("pi"), Some(&"armv7l"));
        assert_eq!(read.by_machine().get("piku@pc"), Some(&"x86_64"));
        let read = KindList::parse("x86_64 must here !piku@pi\n").unwrap();
        assert!(
            read.is_down("piku@pi") && !read.is_down("here") && !read.by_machine().contains_key("piku@pi")
        );
        assert!(KindList::parse("x86_64 here\n").is_err() && KindList::parse("x86_64\n").is_err());
    }

    #[test]
    fn a_response_with_anything_but_words_is_refused() {
        let facts = TargetFacts::parse(
            "{\"architecture\":\"armv6l\",\"glibc\":\"2.36\",\"python\":[\"3.11\"],\"new\":1}",
        )
        .unwrap();
        assert_eq!(facts.describe(), "armv6l, glibc 2.36, Python 3.11");
        for bad in [
            "",
            "{}",
            "{\"architecture\":\"a b\"}",
            "{\"architecture\":\"../x\"}",
            "{\"architecture\":\"..\"}",
            "{\"architecture\":\"\"}",
            "{\"architecture\":\"any\"}",
        ] {
            assert!(TargetFacts::parse(bad).is_err(), "{bad}");
        }
        let text = r#"{"architecture": "x86_64", "refuses": "locked\n !     forged\u001b[2J"}"#;
        let refused = TargetFacts::parse(text).unwrap().check_ready().unwrap_err().to_string();
        assert_eq!(refused, "locked  !     forged\u{fffd}[2J");
        let loud = "{\"architecture\":\"x86_64\",\"python\":[\"3\\u001b[2J\"]}";
        assert!(TargetFacts::parse(loud).is_err());
        let many = |count| format!(r#"{{"architecture": "x86_64", "python": {:?}}}"#, vec!["3.1"; count]);
        assert!(TargetFacts::parse(&many(MOST_PYTHONS)).is_ok());
        assert!(TargetFacts::parse(&many(MOST_PYTHONS + 1)).is_err(), "it would fill the terminal");
    }
}
