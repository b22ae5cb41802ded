//! A virtualenv with nothing but pip, and setuptools where `python -m venv` adds it, which is made once for
//! each Python of the machine. Other virtualenvs copy its packages: that is twenty times as fast as
//! `ensurepip`, and the result is the same. The first is made in half its time, too.

use std::path::Path;

use super::package_bytecode;
use super::version::interpreter::PythonInterpreter;
use crate::plan::build_plan::LayerPlan;
use crate::runtime::BuildTarget;
use crate::step::build_step::BuildStep;
use piku_files::free_space::SpaceNeeded;

const NAME: &str = "pip";
/// Increased when the layers are made in another way.
const FORMAT: u32 = 1;

/// Makes a virtualenv in the first folder, and installs pip by the second argument; as `python -m venv` does if that fails.
const MAKE: &str = "\
from venv import main
import os, subprocess, sys
made, install = sys.argv[1:]
main(['--without-pip', made])
if subprocess.call([os.path.join(made, 'bin', 'python3'), '-I', '-c', install]):
    main(['--clear', made])";

/// Unpacks the wheels that `ensurepip` has found, in place of running pip from its wheel, where none of it is
/// compiled. Records what pip would, except for the compiled files, which it finds by their sources. Fails if a wheel has
/// anything that pip would treat in another way.
const INSTALL: &str = "\
import base64, csv, ensurepip, hashlib, os, sys, zipfile
from configparser import RawConfigParser
from sysconfig import get_path
PROGRAM = '#!{0}\\nimport sys\\nfrom {1} import {2}\\nif __name__ == \"__main__\":\\n    sys.exit({2}())\\n'
lib, programs = get_path('purelib'), get_path('scripts')
def write(path, data, records, mode=0o644):
    with open(path, 'wb') as file:
        file.write(data)
    os.chmod(path, mode)
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()
    records.append([os.path.relpath(path, lib), 'sha256=' + digest, str(len(data))])
def unpack(wheel):
    with zipfile.ZipFile(wheel) as archive:
        about, = [name[:-6] for name in archive.namelist() if name.endswith('.dist-info/RECORD')]
        records = list(csv.reader(archive.read(about + 'RECORD').decode().splitlines()))
        for entry in archive.infolist():
            is_program = entry.external_attr >> 16 & 0o111 and not entry.is_dir()
            if is_program or '.data/' in entry.filename:
                raise ValueError(entry.filename)
            archive.extract(entry, lib)
        entries = RawConfigParser(delimiters=('=',))
        entries.read_string(archive.read(about + 'entry_points.txt').decode())
    commands = dict(entries['console_scripts']) if 'console_scripts' in entries else {}
    if about.startswith('pip-'):
        module, function = commands['pip'].split(':')
        text = PROGRAM.format(sys.executable, module, function).encode()
        for end in '', '%d' % sys.version_info[0], '%d.%d' % sys.version_info[:2]:
            write(os.path.join(programs, 'pip' + end), text, records, 0o755)
    elif commands:
        raise ValueError(commands)
    write(os.path.join(lib, about, 'INSTALLER'), b'pip\\n', records)
    write(os.path.join(lib, about, 'REQUESTED'), b'', records)
    with open(os.path.join(lib, about, 'RECORD'), 'w', newline='') as file:
        csv.writer(file, lineterminator='\\n').writerows(sorted(records))
def install(args, wheels=()):
    if not wheels or ' ' in sys.executable or len(sys.executable) > 100:
        raise ValueError(sys.executable)
    for wheel in wheels:
        unpack(wheel)
ensurepip._run_pip = install
ensurepip.bootstrap(upgrade=True, default_pip=True)
";

/// Makes a virtualenv in the second folder with the packages of the one in the first, and its programs. pip, which
/// has most files, is copied beside the other packages, while Python makes the rest.
const COPY: &str = "\
import os, sys
seed, made = sys.argv[1:]
lib = 'lib/python%d.%d/site-packages' % sys.version_info[:2]
packages, place = os.path.join(seed, lib), os.path.join(made, lib)
os.makedirs(place)
names = os.listdir(packages)
copies = []
for part in [name for name in names if name == 'pip'], [name for name in names if name != 'pip']:
    paths = [os.path.join(packages, name) for name in part]
    if paths:
        copies.append(os.spawnvp(os.P_NOWAIT, 'cp', ['cp', '-a', '-t', place] + paths))
try:
    from venv import main
    main(['--without-pip', made])
finally:
    failed = [copy for copy in copies if os.waitpid(copy, 0)[1]]
if failed:
    sys.exit('cannot copy pip')
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
        steps: seed_steps(&python.path, &mount),
        key,
        mount,
        need: SpaceNeeded { bytes: 30_000_000, files: 2000 },
        host: python.home.iter().cloned().collect(),
        is_shared: target.tools.is_shared(),
        ..LayerPlan::default()
    })
}

/// Returns the steps that make a virtualenv with pip in `venv`.
fn seed_steps(python: &Path, venv: &Path) -> Vec<BuildStep> {
    let own = venv.join("bin/python");
    let make = [&python.to_string_lossy(), "-I", "-c", MAKE, &venv.to_string_lossy(), INSTALL];
    vec![
        BuildStep::new("venv", &make, true),
        package_bytecode::compile_packages(&own.to_string_lossy(), venv),
    ]
}

/// Returns the step of this name that makes the virtualenv `venv` with pip, from the layer if there is one.
pub(crate) fn venv_step(
    name: &'static str,
    python: &PythonInterpreter,
    seed: Option<&LayerPlan>,
    venv: &Path,
) -> BuildStep {
    match seed {
        Some(seed) => copy_step(name, &python.path, &seed.mount, venv),
        None => python.make_venv(name, venv, true),
    }
}

/// Returns the step that makes the virtualenv `venv` like `seed`.
fn copy_step(name: &'static str, python: &Path, seed: &Path, venv: &Path) -> BuildStep {
    let [python, seed, venv] = [python, seed, venv].map(Path::to_string_lossy);
    BuildStep::new(name, &[&python, "-I", "-c", COPY, &seed, &venv], true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    /// Returns the files below a folder, each with its mode, and the content of those that both ways make alike.
    fn list_files(folder: &Path) -> BTreeMap<String, (u32, Vec<u8>)> {
        let mut found = BTreeMap::new();
        let mut left = vec![folder.to_owned()];
        while let Some(at) = left.pop() {
            for entry in fs::read_dir(at).unwrap() {
                let (path, kind) = entry.map(|entry| (entry.path(), entry.file_type().unwrap())).unwrap();
                if kind.is_dir() {
                    left.push(path);
                    continue;
                }
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                let is_alike = !name.starts_with("bin/")
                    && !["RECORD", ".pyc", "pyvenv.cfg"].iter().any(|end| name.ends_with(end))
                    && kind.is_file();
                let content = if is_alike { fs::read(&path).unwrap() } else { Vec::new() };
                let mode = fs::symlink_metadata(&path).unwrap().permissions().mode();
                found.insert(name, (mode, content));
            }
        }
        found
    }

    fn run(step: &BuildStep) {
        let out = Command::new(&step.run[0]).args(&step.run[1..]).output().unwrap();
        assert!(out.status.success(), "{out:?}");
    }

    #[test]
    fn the_result_is_that_of_ensurepip_and_pip_can_remove_it() {
        let dir = tempfile::tempdir().unwrap();
        let (fast, slow) = (dir.path().join("fast"), dir.path().join("slow"));
        let steps = |venv: &Path| seed_steps(Path::new("/usr/bin/python3"), venv);
        steps(&fast).iter().for_each(run);
        let [mut make, compile] = <[BuildStep; 2]>::try_from(steps(&slow)).ok().unwrap();
        // What fails halfway leaves nothing.
        make.run[5] = INSTALL.replace("write(os.path.join(lib, about, 'REQUESTED')", "raise ValueError(");
        assert_ne!(make.run[5], INSTALL);
        run(&make);
        run(&compile);

        let (found, mut expected) = (list_files(&fast), list_files(&slow));
        // ensurepip compiles pip's tests, too.
        expected.retain(|name, _| !name.contains("/tests/__pycache__/"));
        assert!(found.contains_key("bin/pip3") && found.keys().any(|name| name.contains("/__pycache__/")));
        assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
        let other: Vec<_> = found.iter().filter(|(name, file)| expected[*name] != **file).collect();
        assert!(
            other.is_empty(),
            "{:?}",
            other.iter().map(|(name, file)| (name, file.0)).collect::<Vec<_>>()
        );

        let copy = dir.path().join("copy");
        run(&copy_step("venv", Path::new("/usr/bin/python3"), &fast, &copy));
        assert_eq!(list_files(&copy), found);
        let program = |venv: &Path| fs::read_to_string(venv.join("bin/pip")).unwrap();
        let own = format!("#!{}/bin/python", copy.display());
        assert!(program(&copy).starts_with(&own) && !program(&fast).starts_with(&own));
        let broken = copy_step("venv", Path::new("/usr/bin/python3"), &fast, &dir.path().join("broken"));
        let limited = ["-c", "ulimit -f 40; exec \"$@\"", "sh"].map(str::to_owned);
        let out = Command::new("/bin/sh").args(limited).args(&broken.run).output().unwrap();
        assert!(!out.status.success(), "a copy that fails is none: {out:?}");

        let records_compiled = |venv: &Path| {
            let record = list_files(venv).into_keys().find(|name| name.ends_with("/RECORD")).unwrap();
            fs::read_to_string(venv.join(record)).unwrap().contains(".pyc")
        };
        assert!(records_compiled(&slow) && !records_compiled(&fast));
        let pip = |words: &[&str]| {
            let out = Command::new(fast.join("bin/pip")).args(words).output().unwrap();
            assert!(out.status.success(), "{out:?}");
            String::from_utf8(out.stdout).unwrap()
        };
        let installed = pip(&["list", "--format", "freeze", "--disable-pip-version-check"]);
        let names: Vec<_> = installed.lines().map(|line| line.split('=').next().unwrap()).collect();
        assert!(names.contains(&"pip"), "{installed}");
        pip(&[&["uninstall", "--yes"], names.as_slice()].concat());
        let left = list_files(&fast);
        assert!(!left.keys().any(|name| name.contains("pip") || name.contains("site-packages")), "{left:?}");
    }
}
