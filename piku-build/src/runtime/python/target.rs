//! What the steps of a manager install into.

use std::path::Path;

use super::interpreter::Interpreter;
use super::tool::Provided;
use crate::step::Step;

/// The first step's name.
const NAME: &str = "venv";

/// What a virtualenv is made for.
pub(super) struct Target<'a> {
    pub(super) interpreter: &'a Interpreter,
    /// Its folder, as steps see it.
    pub(super) venv: &'a Path,
    /// What reads the lock.
    pub(super) tool: Option<&'a Provided>,
    /// Whether the path of the build is the path of the release.
    pub(super) jailed: bool,
    /// What is installed that the app does not name.
    pub(super) added: &'a [&'a str],
    /// Whether the operator names an index of the site's own.
    pub(super) mirror: bool,
}

impl Target<'_> {
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
    pub(super) fn venv_step(&self, with_pip: bool) -> Step {
        self.interpreter.make_venv(NAME, self.venv, with_pip)
    }
}
