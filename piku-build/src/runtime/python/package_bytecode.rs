//! Byte-compilation of installed packages, by as many processes as there are processors.

use std::path::Path;

use crate::step::build_step::BuildStep;

const NAME: &str = "compile";
/// Files that do not compile are left: some packages have files of another Python, or templates.
const RUN: &str = "\"$0\" -I -S -W ignore -c \"$1\" \"$2\" || :";

/// Compiles the files below a folder that are not compiled yet, the largest first. The processes share the offset of
/// the list of numbers, and each takes the next one. `compileall` takes a third more processor time: it sends each file to
/// another process and back, and reads each compiled file as a whole.
///
/// Tests of a package are left: they are up to half of its files, and a program does not import them. Those that the
/// package itself imports, as astropy and numpy do, are compiled.
const COMPILE: &str = "\
import gc, os, sys
from importlib.machinery import SourceFileLoader
from importlib.util import MAGIC_NUMBER, cache_from_source
gc.disable()
def is_compiled(path):
    about = os.stat(path)
    facts = (0, int(about.st_mtime) & 0xffffffff, about.st_size & 0xffffffff)
    try:
        with open(cache_from_source(path), 'rb', 0) as compiled:
            return compiled.read(16) == MAGIC_NUMBER + b''.join(fact.to_bytes(4, 'little') for fact in facts)
    except OSError:
        return False
def is_import(line, name):
    names = [part.split(b' as ')[0].strip() for part in line.rstrip(b')').split(b',')]
    return line.startswith((b'from ', b'import ')) or name in names and not any(b' ' in part for part in names)
def is_imported(package, name):
    name = os.fsencode(name)
    try:
        with open(os.path.join(package, '__init__.py'), 'rb') as file:
            return any(is_import(line.strip(), name) for line in file if name in line)
    except OSError:
        return True
folders, found = [sys.argv[1]], []
for folder in folders:
    try:
        entries = list(os.scandir(folder))
    except OSError:
        continue
    for entry in entries:
        name = entry.name
        try:
            if name.endswith('.py') and entry.is_file():
                found.append((entry.stat().st_size, entry.path))
            elif name != '__pycache__' and entry.is_dir(follow_symlinks=False):
                if name not in ('tests', 'testing') or is_imported(folder, name):
                    folders.append(entry.path)
        except OSError:
            pass
found.sort(reverse=True)
try:
    queue = os.memfd_create('queue')
except (AttributeError, OSError):
    from tempfile import TemporaryFile
    file = TemporaryFile()
    queue = file.fileno()
with open(queue, 'wb', closefd=False) as numbers:
    for number in range(len(found)):
        numbers.write(number.to_bytes(4, 'little'))
os.lseek(queue, 0, os.SEEK_SET)
def compile_files():
    while True:
        number = os.read(queue, 4)
        if not number:
            return
        path = found[int.from_bytes(number, 'little')][1]
        try:
            if not is_compiled(path):
                SourceFileLoader('module', path).get_code('module')
        except Exception:
            pass
try:
    for _ in range(1, min(len(os.sched_getaffinity(0)), len(found))):
        if not os.fork():
            try:
                compile_files()
            finally:
                os._exit(0)
except OSError:
    pass
compile_files()
try:
    while True:
        os.wait()
except ChildProcessError:
    pass
";

/// Returns the step that compiles all packages of a virtualenv. uv's own compiler gives up on a machine that has much to
/// do.
pub(super) fn compile_packages(python: &str, venv: &Path) -> BuildStep {
    let lib = venv.join("lib").to_string_lossy().into_owned();
    BuildStep::new(NAME, &["/bin/sh", "-c", RUN, python, COMPILE, &lib], true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::process::Command;
    use std::time::SystemTime;

    /// Runs the step, which must be silent.
    fn compile(venv: &Path) {
        let step = compile_packages("/usr/bin/python3", venv);
        let out = Command::new(&step.run[0]).args(&step.run[1..]).output().unwrap();
        assert!(out.status.success() && out.stdout.is_empty() && out.stderr.is_empty(), "{out:?}");
    }

    /// Returns the names of the compiled files in a folder, with their dates.
    fn list_compiled(folder: &Path) -> Vec<(String, SystemTime)> {
        let entries = fs::read_dir(folder.join("__pycache__")).into_iter().flatten().flatten();
        let mut found: Vec<_> = entries
            .map(|entry| {
                let name = entry.file_name().into_string().unwrap();
                (name.split('.').next().unwrap().to_owned(), entry.metadata().unwrap().modified().unwrap())
            })
            .collect();
        found.sort();
        found
    }

    #[test]
    fn all_packages_are_compiled_once() {
        let venv = tempfile::tempdir().unwrap();
        let packages = venv.path().join("lib/python3/site-packages");
        fs::create_dir_all(packages.join("deep/er")).unwrap();
        let deep = "(".repeat(5000);
        let sources =
            [("good", "x = 1\n"), ("empty", ""), ("old", "print 1\n"), ("nul", "\0"), ("deep", &deep)];
        for (name, text) in sources {
            fs::write(packages.join(format!("{name}.py")), text).unwrap();
        }
        for number in 0..200 {
            fs::write(packages.join(format!("deep/er/m{number}.py")), format!("x = {number}\n")).unwrap();
        }
        symlink("circle.py", packages.join("circle.py")).unwrap();
        compile(venv.path());
        let first = list_compiled(&packages);
        assert_eq!(first.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["empty", "good"]);
        let deep = list_compiled(&packages.join("deep/er"));
        assert_eq!(deep.len(), 200);

        // Python takes them as they are.
        let run = "import sys; sys.path.insert(0, sys.argv[1]); import good, er.m7; print(good.x, er.m7.x)";
        let python = ["-B", "-v", "-c", run];
        let out = Command::new("/usr/bin/python3")
            .args(python)
            .arg(packages.join("deep"))
            .env("PYTHONPATH", &packages)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.stdout, b"1 7\n", "{told}");
        for name in ["good", "m7"] {
            let matches =
                told.lines().any(|line| line.contains("matches") && line.contains(&format!("{name}.py")));
            assert!(matches, "{told}");
        }

        fs::write(packages.join("good.py"), "x = 12\n").unwrap();
        compile(venv.path());
        let second = list_compiled(&packages);
        assert!(second[0] == first[0] && second[1].1 > first[1].1, "{first:?} {second:?}");
        assert_eq!(list_compiled(&packages.join("deep/er")), deep);
    }

    #[test]
    fn tests_that_no_program_imports_are_left() {
        let venv = tempfile::tempdir().unwrap();
        let packages = venv.path().join("lib/python3/site-packages");
        // The package, what its `__init__.py` says, and the folders that are compiled.
        let cases = [
            ("plain", "# from .tests import x\nabout = 'tests, testing'\n", [false, false]),
            (
                "lazy",
                "def __getattr__(name):\n    import lazy.testing as testing\n    return testing\n",
                [false, true],
            ),
            ("runner", "from .tests.runner import TestRunner\n", [true, false]),
            ("listed", "from . import (\n    errors,\n    testing,\n    tests\n)\n", [true, true]),
            (
                "renamed",
                "from . import (\n    errors, testing as testing,\n    tests as checks)\n",
                [true, true],
            ),
            (
                "prose",
                "\"\"\"Statistical\n    tests, masked arrays, testing of hypotheses\n\"\"\"\n",
                [false, false],
            ),
            ("other", "known = ['tests', 'testing']\n", [false, false]),
        ];
        for (name, about, _) in cases {
            for folder in ["", "core", "tests", "tests/deep", "testing", "latests"] {
                let folder = packages.join(name).join(folder);
                fs::create_dir_all(&folder).unwrap();
                fs::write(folder.join("__init__.py"), "").unwrap();
            }
            fs::write(packages.join(name).join("__init__.py"), about).unwrap();
            fs::write(packages.join(name).join("tests.py"), "").unwrap();
        }
        for folder in ["tests", "namespace/testing"] {
            fs::create_dir_all(packages.join(folder)).unwrap();
            fs::write(packages.join(folder).join("only.py"), "").unwrap();
        }
        compile(venv.path());
        let is_compiled = |folder: &str| !list_compiled(&packages.join(folder)).is_empty();
        for (name, _, [tests, testing]) in cases {
            let found =
                ["tests", "tests/deep", "testing"].map(|folder| is_compiled(&format!("{name}/{folder}")));
            assert_eq!(found, [tests, tests, testing], "{name}");
            assert!(
                is_compiled(&format!("{name}/core")) && is_compiled(&format!("{name}/latests")),
                "{name}"
            );
            assert_eq!(list_compiled(&packages.join(name)).len(), 2, "{name}");
        }
        // They are packages themselves, or have no package that could import them.
        assert!(is_compiled("tests") && is_compiled("namespace/testing"));
    }
}
