//! A virtualenv with nothing but pip, and setuptools where `python -m venv` adds it, which is made once for
//! each Python of the machine. Other virtualenvs copy its packages: that is twenty times as fast as
//! `ensurepip`, and the result is the same.

use std::path::Path;

use super::version::interpreter::PythonInterpreter;
use crate::plan::build_plan::LayerPlan;
use crate::runtime::BuildTarget;
use crate::step::build_step::BuildStep;
use piku_files::free_space::SpaceNeeded;

const NAME: &str = "pip";
/// Increased when the layers are made in another way.
const FORMAT: u32 = 1;

/// Makes a virtualenv in the second folder with the packages of the one in the first, and its programs.
const COPY: &str = "\
from venv import main
import os, subprocess, sys
seed, made = sys.argv[1:]
main(['--without-pip', made])
lib = 'lib/python%d.%d/site-packages/' % sys.version_info[:2]
subprocess.check_call(['cp', '-a', os.path.join(seed, lib, '.'), os.path.join(made, lib)])
for name in os.listdir(os.path.join(seed, 'bin')):
    if 'pip' in name or name.startswith('easy_install'):
        with open(os.path.join(seed, 'bin', name), 'rb') as f: text = f.read()
        program = os.path.join(made, 'bin', name)
        with open(program, 'wb') as f: f.write(text.replace(os.fsencode(seed), os.fsencode(made), 1))
        os.chmod(program, 0o755)";

/// Plans the layer. `None` for a Python that the app has built: what an app's settings determine is no tool
/// for others.
pub(crate) fn plan_seed(python: &PythonInterpreter, target: &BuildTarget) -> Option<LayerPlan> {
    if python.is_apps {
        return None;
    }
    let mut key = target.tool_key(NAME, FORMAT, target.tools.is_shared());
    for (name, value) in [
        ("python", &*python.path.to_string_lossy()),
        ("version", &python.version.to_string()),
        ("libc", &python.libc),
        ("wheels", &python.wheels),
        ("mount", &target.tool_mount(NAME, "").to_string_lossy()),
    ] {
        key.field(name, value.as_bytes());
    }
    let key = key.finish();
    let mount = target.tool_mount(NAME, &key);
    Some(LayerPlan {
        name: NAME,
        steps: vec![python.make_venv("venv", &mount, true)],
        key,
        mount,
        need: SpaceNeeded { bytes: 30_000_000, files: 2000 },
        host: python.home.iter().cloned().collect(),
        is_shared: target.tools.is_shared(),
        ..LayerPlan::default()
    })
}

/// Returns the step of this name that makes the virtualenv `venv` with pip, from the layer if there is one.
pub(crate) fn venv_step(
    name: &'static str,
    python: &PythonInterpreter,
    seed: Option<&LayerPlan>,
    venv: &Path,
) -> BuildStep {
    let Some(seed) = seed else { return python.make_venv(name, venv, true) };
    let (program, from, venv) =
        (python.path.to_string_lossy(), seed.mount.to_string_lossy(), venv.to_string_lossy());
    BuildStep::new(name, &[&program, "-I", "-c", COPY, &from, &venv], true)
}
