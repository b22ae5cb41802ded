//! What the steps of a manager install into.

use std::path::Path;

use super::interpreter::PythonInterpreter;
use super::tool::ToolSource;
use crate::build_step::BuildStep;

/// The first step's name.
const NAME: &str = "venv";

/// What a virtualenv is made for.
pub(super) struct VenvTarget<'a> {
    pub(super) interpreter: &'a PythonInterpreter,
    /// Its folder, as steps see it.
    pub(super) venv: &'a Path,
    /// What reads the lock.
    pub(super) tool: Option<&'a ToolSource>,
    /// Whether the path of the build is the path of the release.
    pub(super) jailed: bool,
    /// What is installed that the app does not name.
    pub(super) added: &'a [&'a str],
    /// Whether the operator names an index of the site's own.
    pub(super) mirror: bool,
}

impl VenvTarget<'_> {
    /// The tool's program.
    pub(super) fn program(&self) -> String {
        self.tool.map_or_else(String::new, |tool| tool.program.to_string_lossy().into_owned())
    }

    /// The virtualenv's own pip.
    pub(super) fn pip(&self) -> String {
        self.venv.join("bin/pip").to_string_lossy().into_owned()
    }

    /// The virtualenv's own Python.
    pub(super) fn python(&self) -> String {
        self.venv.join("bin/python").to_string_lossy().into_owned()
    }

    /// Makes it, empty.
    pub(super) fn venv_step(&self, with_pip: bool) -> BuildStep {
        self.interpreter.make_venv(NAME, self.venv, with_pip)
    }
}
