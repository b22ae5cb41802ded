use super::*;
use crate::store::tools::ToolStores;

fn source(files: &[(&str, &str)]) -> (tempfile::TempDir, AppSource) {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    let source = AppSource::read(dir.path(), None).unwrap();
    (dir, source)
}

/// Chooses among the system's Pythons and those below `home`.
fn choice_with(home: &std::path::Path, files: &[(&str, &str)]) -> anyhow::Result<PythonChoice> {
    let build_env = BTreeMap::from([
        ("PYENV_ROOT".to_owned(), home.display().to_string()),
        ("UV_PYTHON_INSTALL_DIR".to_owned(), home.join("uv").display().to_string()),
    ]);
    let target = BuildTarget {
        jailed: true,
        store: None,
        tools: ToolStores::default(),
        architecture: "x86_64",
        cross: None,
        operator_env: &build_env,
        commit: "",
    };
    choose(&source(files).1, &target)
}

fn choice(files: &[(&str, &str)]) -> anyhow::Result<PythonChoice> {
    choice_with("/nowhere".as_ref(), files)
}

fn error(files: &[(&str, &str)]) -> String {
    choice(files).err().expect("no Python fits").to_string()
}

#[test]
fn names_of_programs() {
    assert_eq!(parse_program_name("python3.11"), Some(RuntimeVersion([3, 11, 0])));
    for other in ["python3", "python3.", "python3.11-config", "python3.11m", "python2.7", "pythonw3.1"] {
        assert_eq!(parse_program_name(other), None, "{other}");
    }
}

#[test]
fn the_machines_own_is_the_default_and_asked_for_by_name() {
    let own = choice(&[]).unwrap();
    assert!(own.interpreter.path.starts_with("/usr") && own.warnings.is_empty());
    let version = own.interpreter.version;
    let exact = choice(&[(".python-version", &format!("# a comment\n{version}\n"))]).unwrap();
    assert_eq!((exact.interpreter.version, exact.from.as_str()), (version, ".python-version"));
    let minor = version.minor();
    let near = choice(&[("runtime.txt", &format!("python-{minor}.99\n"))]).unwrap();
    assert!(near.warnings[0].contains("99") && near.from == "runtime.txt", "{:?}", near.warnings);
    let env = choice(&[("ENV", &format!("PYTHON_VERSION={minor}\n")), (".python-version", "2.7")]).unwrap();
    assert_eq!(env.from, "PYTHON_VERSION in ENV");
    let empty =
        choice(&[("ENV", "PYTHON_VERSION=\n"), (".python-version", &format!("python{minor}"))]).unwrap();
    assert_eq!(empty.from, ".python-version");
    for any in ["latest", "system", "*"] {
        for file in [(".python-version", any.to_owned()), ("ENV", format!("PYTHON_VERSION={any}\n"))] {
            let own = choice(&[(file.0, &file.1), ("runtime.txt", "")]).unwrap();
            assert_eq!((own.from.as_str(), own.interpreter.version), ("the machine's python3", version));
        }
    }
    let tool = choice(&[(".tool-versions", &format!("nodejs 20.1.0\npython {minor} 3.4 # x\n"))]).unwrap();
    assert_eq!((tool.from.as_str(), tool.interpreter.version), (".tool-versions", version));
    let other = choice(&[(".tool-versions", "nodejs 20.1.0\n"), ("runtime.txt", &minor)]).unwrap();
    assert_eq!(other.from, "runtime.txt");
    let both = choice(&[(".python-version", &minor), ("runtime.txt", "python-3.4.1")]).unwrap();
    assert_eq!(both.warnings.len(), 1, "{:?}", both.warnings);
    let several = choice(&[(".python-version", &format!("3.99.1\npypy3.10\n{minor}\n"))]).unwrap();
    assert_eq!((several.interpreter.version, several.warnings.len()), (version, 0));
    let range = choice(&[("pyproject.toml", "[project]\nrequires-python = '>=3.8,<4'\n")]).unwrap();
    assert_eq!(range.from, "pyproject.toml");
    let older = choice(&[(".python-version", "3.4.1\n")]).unwrap();
    assert!(
        older.warnings[0].contains("asks for Python 3.4.1, which is not on this machine"),
        "{:?}",
        older.warnings
    );
}

#[test]
fn what_is_not_there_is_refused_with_what_is() {
    let err = error(&[(".python-version", "4.1\n")]);
    assert!(err.contains(".python-version asks for Python 4.1; this machine has 3."), "{err}");
    let err = error(&[("runtime.txt", "pypy3.9\n")]);
    assert!(err.contains("only CPython"), "{err}");
    // A range is a promise, not a wish.
    let err = error(&[("pyproject.toml", "[project]\nrequires-python = '>=3.4,<3.5'\n")]);
    assert!(err.contains("pyproject.toml asks for Python >=3.4,<3.5"), "{err}");
}

#[test]
fn the_newest_of_older_ones_is_taken() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    let own = choice(&[]).unwrap().interpreter;
    // Newer than every Python of the machine, and older than what is asked for.
    for version in ["3.97", "3.98"] {
        let bin = dir.path().join(format!("versions/{version}.1/bin"));
        fs::create_dir_all(&bin).unwrap();
        symlink(&own.path, bin.join(format!("python{version}"))).unwrap();
    }
    let taken = choice_with(dir.path(), &[(".python-version", "3.99\n")]).unwrap();
    assert!(taken.interpreter.path.ends_with("versions/3.98.1/bin/python3.98"), "{:?}", taken.interpreter);
    assert!(taken.warnings[0].contains("asks for Python 3.99, which is not on this machine"));
    let err = choice_with(dir.path(), &[("pyproject.toml", "[project]\nrequires-python = '>=3.99'\n")]);
    let err = err.err().unwrap();
    let hints = piku_report::user_error::advice(&err).0;
    assert_eq!(hints[0], "if the app runs on it, pyproject.toml may say >=3.98.1");
}

#[test]
fn pyenv_and_uv_have_more() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    let own = choice(&[]).unwrap().interpreter;
    let line = RuntimeVersion([3, own.version.0[1], 0]);
    // Their names say what they are not; enough to see which one is taken.
    for (home, version) in [("versions/3.4.7", "3.4"), ("uv/cpython-3.4.9-linux-x86_64-gnu", "3.4")] {
        let bin = dir.path().join(home).join("bin");
        fs::create_dir_all(&bin).unwrap();
        symlink(&own.path, bin.join(format!("python{version}"))).unwrap();
    }
    symlink("cpython-3.4.9-linux-x86_64-gnu", dir.path().join("uv/cpython-3.4-linux-x86_64-gnu")).unwrap();
    let taken = choice_with(dir.path(), &[(".python-version", "3.4\n")]).unwrap().interpreter;
    assert!(taken.path.ends_with("cpython-3.4.9-linux-x86_64-gnu/bin/python3.4"), "{taken:?}");
    assert!(taken.home.unwrap().ends_with("cpython-3.4.9-linux-x86_64-gnu"));
    assert_eq!(choice_with(dir.path(), &[]).unwrap().interpreter.home, None, "the machine's comes first");

    // One that does not run is skipped with a message.
    let broken = dir.path().join("versions/3.4.99/bin");
    fs::create_dir_all(&broken).unwrap();
    symlink("/bin/false", broken.join("python3.4")).unwrap();
    let other = choice_with(dir.path(), &[(".python-version", "3.4\n")]).unwrap();
    assert_eq!(other.interpreter.version, own.version);
    assert!(other.warnings.iter().any(|said| said.contains("3.4.99/bin/python3.4' does not run")));

    let plugin = dir.path().join("plugins/python-build");
    fs::create_dir_all(plugin.join("bin")).unwrap();
    fs::create_dir_all(plugin.join("share/python-build")).unwrap();
    symlink("/bin/sh", plugin.join("bin/python-build")).unwrap();
    for name in ["3.99.1", "3.99.2", "3.99.3rc1", "3.99-dev", "pypy3.99-7.0", &line.to_string()] {
        fs::write(plugin.join("share/python-build").join(name), "").unwrap();
    }
    let built = choice_with(dir.path(), &[(".python-version", "3.99\n")]).unwrap();
    let layer = built.layer.unwrap();
    assert_eq!(built.interpreter.path.to_str(), Some("/layers/python/bin/python3"));
    assert!(layer.steps[0].run.ends_with(&["3.99.2".to_owned(), "/layers/python".to_owned()]));
    assert_eq!(layer.host.len(), 1);
    fs::create_dir(dir.path().join("cache")).unwrap();
    fs::write(dir.path().join("cache/Python-3.99.1.tar.xz"), "").unwrap();
    let layer = choice_with(dir.path(), &[(".python-version", "3.99\n")]).unwrap().layer.unwrap();
    assert!(layer.host[1].ends_with("cache"));
    assert!(layer.steps[0].run.contains(&"3.99.1".to_owned()), "whose source is there");
    let near = choice_with(dir.path(), &[(".python-version", &format!("{}.999", line.minor()))]).unwrap();
    assert!(near.layer.is_none(), "another patch is good enough");
}
