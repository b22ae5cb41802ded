//! Compilation of installed packages whose results all apps share.

use std::path::{Path, PathBuf};

use super::version::interpreter::PythonInterpreter;
use crate::compiled::compilation::SharedCompilation;
use crate::plan::build_target::BuildTarget;

const KIND: &str = "bytecode";
/// Increased when the compiler is called in another way.
const FORMAT: u32 = 1;

/// Compiles the sources in its input as `importlib` does.
const COMPILE: &str = "\
import gc, marshal, sys
from _frozen_importlib_external import MAGIC_NUMBER
gc.disable()
given, made = sys.stdin.buffer, sys.stdout.buffer
made.write(MAGIC_NUMBER)
while True:
    lengths = given.read(8)
    if not lengths:
        break
    path, source = [given.read(int.from_bytes(lengths[at:at + 4], 'little')) for at in (0, 4)]
    try:
        form = marshal.dumps(compile(source, path.decode(), 'exec', dont_inherit=True))
    except Exception:
        form = b''
    made.write(len(form).to_bytes(4, 'little'))
    made.write(form)
made.flush()
";

/// Plans the compilation of the packages in `venv`. `None` where apps share no tools, or no jails separate them, for another
/// machine, and for a Python that the app has built.
pub(super) fn plan_compilation(
    python: &PythonInterpreter,
    target: &BuildTarget,
    venv: &Path,
    is_public: bool,
) -> Option<SharedCompilation> {
    if python.is_apps || !target.jailed || !target.tools.is_shared() || target.cross.is_some() {
        return None;
    }
    let program = python.path.to_string_lossy();
    let run = [&*program, "-I", "-S", "-W", "ignore", "-c", COMPILE].map(str::to_owned);
    let mut key = target.tool_key(KIND, FORMAT, true);
    for (name, value) in
        [("python", &*program), ("version", &python.version.to_string()), ("libc", &python.libc)]
    {
        key.field(name, value.as_bytes());
    }
    let [major, minor, _] = python.version.0;
    Some(SharedCompilation {
        folder: PathBuf::from(format!("lib/python{major}.{minor}/site-packages")),
        mount: venv.to_owned(),
        run: run.into(),
        host: python.home.iter().cloned().collect(),
        compiler: key.finish(),
        ending: format!(".cpython-{major}{minor}.pyc"),
        is_public,
    })
}
