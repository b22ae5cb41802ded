//! The commands of build tools among an app's process types, and the programs that are started in their
//! place.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use piku_files::TreeHandle;
use piku_layout::name::ProcessName;
use piku_procfile::procfile::ProcfileEntry;

use super::program::JavaProgram;
use super::run_goal::{self, GoalMeaning, RunGoal};
use super::tool::{JavaTool, POM};
use crate::app::app_file;
use crate::app::app_source::{AppSource, decode};
use crate::app::read_budget::ReadBudget;
use crate::app::started_programs::{StartedProgram, find_started};
use crate::errors;
use crate::plan::build_plan::BuildPlan;
use crate::plan::tool_commands::{rewrite_command, running_entries, set_command};

/// Plugins of Maven that make a jar with the dependencies inside.
const WHOLE_JARS: [&str; 5] = [
    "maven-shade-plugin",
    "maven-assembly-plugin",
    "spring-boot-maven-plugin",
    "quarkus-maven-plugin",
    "micronaut-maven-plugin",
];

/// The commands of build tools among the process types.
#[derive(Default)]
pub(super) struct ToolGoals {
    pub(super) warnings: Vec<String>,
    /// True if one of them starts classes, without a jar.
    pub(super) starts_classes: bool,
}

impl ToolGoals {
    /// Reads them.
    ///
    /// # Errors
    /// Fails if one is to start a class that nothing names.
    pub(super) fn read(
        processes: &IndexMap<ProcessName, String>,
        tool: JavaTool,
        source: &AppSource,
    ) -> anyhow::Result<Self> {
        let mut found = Self::default();
        for entry in running_entries(processes) {
            for started in find_started(&entry.command) {
                let command = started.words.join(" ");
                match run_goal::interpret(&started, tool) {
                    None => {}
                    Some(GoalMeaning::Starts(goal)) if !started.spans.is_empty() => {
                        let poms = ModulePoms::read_for(&goal, |path| source.read_bytes(path))?;
                        if let Some(poms) = poms {
                            poms.find_class(&goal, &entry, &started)?;
                            found.starts_classes = true;
                        }
                        found.warnings.push(errors::java::run_goal_replaced(&entry, &command));
                    }
                    Some(_) => found.warnings.push(errors::java::compiles_at_start(&entry, &command)),
                }
            }
        }
        Ok(found)
    }
}

/// The texts of the pom.xml files that a module is built by.
#[derive(Debug, Default)]
struct ModulePoms {
    /// That of the module.
    own: String,
    /// That of the app, from which most modules inherit.
    top: String,
}

impl ModulePoms {
    /// Reads them with `read` for a goal that starts classes; `None` if a jar contains these together with their
    /// dependencies, or if the goal starts something else. A module that is named by its artifact, not by its
    /// folder, has only the app's.
    fn read_for(
        goal: &RunGoal,
        read: impl Fn(&Path) -> anyhow::Result<Option<Vec<u8>>>,
    ) -> anyhow::Result<Option<Self>> {
        if !goal.is_of_classes {
            return Ok(None);
        }
        let text = |path: &Path| -> anyhow::Result<String> {
            Ok(read(path)?.map(|text| without_management(&decode(&text))).unwrap_or_default())
        };
        let top = text(Path::new(POM))?;
        let own =
            if goal.module.as_os_str().is_empty() { String::new() } else { text(&goal.module.join(POM))? };
        let poms = Self { own, top };
        let is_whole = |pom: &str| WHOLE_JARS.iter().any(|plugin| pom.contains(plugin));
        let has_jar = poms.texts().any(is_whole);
        Ok((!has_jar).then_some(poms))
    }

    /// Returns the texts, the nearest first.
    fn texts(&self) -> impl Iterator<Item = &str> {
        [self.own.as_str(), &self.top].into_iter()
    }

    /// Finds the class that `exec:java` starts.
    fn find_class(
        &self,
        goal: &RunGoal,
        entry: &ProcfileEntry,
        started: &StartedProgram,
    ) -> anyhow::Result<String> {
        let value = |pom: &str, mark: &str| {
            let rest = pom.split_once(mark)?.1;
            let value = rest.split('<').next().unwrap_or_default().trim();
            (!value.is_empty() && !value.contains('$')).then(|| value.to_owned())
        };
        let named = |pom| value(pom, "<exec.mainClass>").or_else(|| value(pom, "<mainClass>"));
        let main = goal.main.clone().or_else(|| self.texts().find_map(named));
        Ok(main.ok_or_else(|| errors::java::no_class_to_run(entry, &started.words.join(" ")))?)
    }
}

/// Removes plugins that a pom.xml configures for modules which name them.
fn without_management(pom: &str) -> String {
    let (begin, end) = ("<pluginManagement>", "</pluginManagement>");
    let mut parts = pom.split(begin);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.filter_map(|part| part.split_once(end)).fold(first, |text, (_, rest)| text + rest)
}

fn read_within(budget: &ReadBudget, tree: &TreeHandle, path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    let text = app_file::read_bytes(tree, path)?;
    budget.spend(path, text.as_ref().map_or(0, Vec::len))?;
    Ok(text)
}

/// Replaces the commands that compile the app and start it by those of the program that was built in
/// `folders`.
pub(super) fn replace_goals(
    plan: &mut BuildPlan,
    tool: JavaTool,
    is_play: bool,
    tree: &TreeHandle,
    folders: &[PathBuf],
) -> anyhow::Result<()> {
    let budget = ReadBudget::default();
    for entry in running_entries(&plan.processes) {
        let command = rewrite_command(&entry, |started| {
            let meaning = run_goal::interpret(started, tool).filter(|_| !started.spans.is_empty());
            let Some(GoalMeaning::Starts(mut goal)) = meaning else { return Ok(None) };
            if is_play {
                goal.name_port();
            }
            let poms = ModulePoms::read_for(&goal, |path| read_within(&budget, tree, path))?;
            let program = if let Some(poms) = poms {
                let main = poms.find_class(&goal, &entry, started)?;
                JavaProgram::Classes { folder: goal.module.join("target"), main }
            } else {
                let why = errors::java::starts_what_is_built(&entry, &started.words.join(" "));
                JavaProgram::find(tree, folders, &goal.module, &why)?
            };
            if let Some(main) = goal.main.take_if(|_| tool == JavaTool::Leiningen) {
                // Clojure's own class starts a namespace.
                goal.arguments.splice(0..0, ["-m".to_owned(), main]);
                goal.main = Some("clojure.main".to_owned());
            }
            Ok(Some((started.words.len(), program.command(started.folder.as_deref(), &goal))))
        })?;
        if let Some(command) = command {
            set_command(&mut plan.processes, &entry, &command);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_judged_by_its_own_pom_and_what_it_inherits() {
        let dir = tempfile::tempdir().unwrap();
        let tree = TreeHandle::open(dir.path()).unwrap();
        tree.create_dir("web").unwrap();
        let shade = "<artifactId>maven-shade-plugin</artifactId>";
        let managed = format!("<pluginManagement>{shade}</pluginManagement><mainClass>shop.Top</mainClass>");
        let goal =
            |module: &str| RunGoal { is_of_classes: true, module: module.into(), ..RunGoal::default() };
        let read = |path: &Path| app_file::read_bytes(&tree, path);
        let processes = IndexMap::from([("web".parse().unwrap(), "mvn exec:java".to_owned())]);
        let entry = running_entries(&processes).remove(0);
        let started = find_started("mvn exec:java").pop().unwrap();
        for (top, own, main) in [
            (managed.as_str(), "<project/>", Some("shop.Top")),
            (&managed, "<mainClass>shop.Web</mainClass>", Some("shop.Web")),
            (&managed, shade, None),
            (shade, "<mainClass>shop.Web</mainClass>", None),
            ("<project/>", shade, None),
        ] {
            tree.write(POM, top, 0o644).unwrap();
            tree.write("web/pom.xml", own, 0o644).unwrap();
            let poms = ModulePoms::read_for(&goal("web"), read).unwrap();
            let found = poms.map(|poms| poms.find_class(&goal("web"), &entry, &started).unwrap());
            assert_eq!(found.as_deref(), main, "{top} {own}");
        }
        tree.write(POM, &managed, 0o644).unwrap();
        assert!(ModulePoms::read_for(&goal("shop-web"), read).unwrap().is_some(), "named by its artifact");
        let other = RunGoal { is_of_classes: false, ..goal("web") };
        let unread = |_: &Path| -> anyhow::Result<Option<Vec<u8>>> { panic!("it is not needed") };
        assert!(ModulePoms::read_for(&other, unread).unwrap().is_none());
    }
}
