use super::*;

fn told(text: &str, code: i32) -> String {
    let lines = text.lines().map(str::to_owned).collect();
    let ended = StepOutcome { code, lines, out_of_memory: false, peak: 400_000_000 };
    let dir = tempfile::tempdir().unwrap();
    let tree = TreeHandle::open(dir.path()).unwrap();
    explain_pip("pip", &ended, &tree, "requirements.txt").to_string()
}

#[test]
fn only_the_version_that_was_asked_for_needs_another_python() {
    let told = |requirement: &str| {
        let text = format!(
            "ERROR: Ignored the following versions that require a different python version: 1.21.2 Requires-Python \
             >=3.7,<3.11; 2.5.0 Requires-Python >=3.12\nERROR: Could not find a version that satisfies the requirement \
             {requirement} (from versions: 1.19.5, 1.26.4)\n"
        );
        let lines = text.lines().map(str::to_owned).collect();
        find_python_refusal(&StepOutcome { code: 1, lines, out_of_memory: false, peak: 0 })
    };
    assert_eq!(told("numpy==1.21.2").as_deref(), Some("numpy==1.21.2: 1.21.2 Requires-Python >=3.7,<3.11"));
    assert_eq!(told("numpy==99"), None);
    assert!(told("numpy>=2.5").is_some_and(|told| told.contains("2.5.0 Requires-Python >=3.12")));
}

#[test]
fn failures_of_pip_are_explained() {
    let no_version = "Collecting six\nERROR: Could not find a version that satisfies the requirement six==99 \
                      (from -r requirements.txt (line 1)) (from versions: 1.0, 1.1)\nERROR: No matching distribution found for six==99\n";
    assert!(told(no_version, 1).contains("cannot find a version for 'six==99'"), "{}", told(no_version, 1));
    let offline = "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError(': Failed to \
                   establish a new connection: [Errno -3] Temporary failure in name resolution')': /simple/six/\n\
                   ERROR: Could not find a version that satisfies the requirement six (from versions: none)\n";
    assert!(told(offline, 1).contains("Temporary failure in name resolution"), "{}", told(offline, 1));
    let conflict = "ERROR: Cannot install a==1 and b==2 because these package versions have conflicting dependencies.\n\n\
                    The conflict is caused by:\n    a 1 depends on c<1\n    b 2 depends on c>2\n\nTo fix this you could try to:\n\
                    ERROR: ResolutionImpossible: for help visit x\n";
    let conflict = told(conflict, 1);
    assert!(conflict.contains("a==1 and b==2") && conflict.contains("b 2 depends on c>2"), "{conflict}");
    assert!(!conflict.contains("To fix"), "{conflict}");
    for (text, code, reason) in [
        ("Collecting numpy\n", 137, "killed"),
        ("gcc: fatal error: Killed signal terminated program cc1\n", 1, "killed"),
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n",
            1,
            "no space left",
        ),
        ("ERROR: Invalid requirement: 'foo bar' (from line 1 of requirements.txt)\n", 1, "foo bar"),
        (
            "ssl.SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED] certificate is not yet valid\n",
            1,
            "clock",
        ),
        ("ERROR: Package 'x' requires a different Python: 3.11.2 not in '>=3.13'\n", 1, ">=3.13"),
        (
            "Collecting x\n  error: command 'gcc' failed: No such file or directory\n  ERROR: Failed building wheel for x\n",
            1,
            "'x' could not be built",
        ),
        (
            "Collecting textract==1.6.5 (from -r requirements.txt (line 1))\n\
             WARNING: Ignoring version 1.6.5 of textract since it has invalid metadata:\n\
             Requested textract==1.6.5 from x has invalid metadata: .* suffix can only be used with `==` or `!=` operators\n\
             \x20   extract-msg (<=0.29.*)\nPlease use pip<24.1 if you need to use this version.\n\
             ERROR: Could not find a version that satisfies the requirement textract==1.6.5 (from versions: 1.0)\n\
             ERROR: No matching distribution found for textract==1.6.5\n",
            1,
            "pip ignores version 1.6.5 of 'textract', whose metadata is invalid: .* suffix can only",
        ),
        (
            "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. If you have updated\n\
             \x20   six==1.17.0 from x (from -r requirements.txt (line 1)):\n\
             \x20       Expected sha256 00\n             Got        47\n",
            1,
            "Expected sha256 00\nGot        47",
        ),
        (
            "Collecting git+https://h/x.git (from -r requirements.txt (line 1))\n  Running command git clone -q https://h/x.git\n\
             \x20 fatal: unable to access 'https://h/x.git/': Failed to connect\n  error: subprocess-exited-with-error\n\
             \x20 × git clone --filter=blob:none --quiet https://h/x.git /build/tmp/x did not run successfully.\n",
            1,
            "a git repository that cannot be fetched: fatal: unable to access 'https://h/x.git/'",
        ),
        // pip 23 of Debian 12, which collects all packages before it builds one.
        (
            "Processing ./dist/badext-1.0.tar.gz\nCollecting six\n  Running setup.py install for badext: finished with status 'error'\n\
             \x20 error: subprocess-exited-with-error\n  \n  × Running setup.py install for badext did not run successfully.\n\
             \x20 ╰─> [14 lines of output]\n      x.c:1:10: fatal error: nothere.h: No such file or directory\n\
             \x20     error: command '/usr/bin/x86_64-linux-gnu-gcc' failed with exit code 1\n      [end of output]\n\
             error: legacy-install-failure\n\n× Encountered error while trying to install package.\n╰─> badext\n",
            1,
            "'badext' could not be built\n  x.c:1:10: fatal error: nothere.h: No such file or directory\n  error: command",
        ),
        (
            "Collecting first==1.0\n  error: subprocess-exited-with-error\n  × python setup.py egg_info did not run successfully.\n\
             \x20 ╰─> [6 lines of output]\n      Collecting setuptools\n      RuntimeError: no metadata for you\n      [end of output]\n\
             error: metadata-generation-failed\n\n× Encountered error while generating package metadata.\n╰─> See above for output.\n",
            1,
            "'first==1.0' could not be built\n  RuntimeError: no metadata for you",
        ),
        (
            "Collecting badgone==1.0 (from -r requirements.txt (line 1))\n  error: subprocess-exited-with-error\n\
             \x20 × pip subprocess to install build dependencies did not run successfully.\n  ╰─> [5 lines of output]\n\
             \x20     Collecting setuptools\n      ERROR: Could not find a version that satisfies the requirement nodep (from versions: none)\n\
             \x20     [end of output]\nerror: subprocess-exited-with-error\n\n\
             × pip subprocess to install build dependencies did not run successfully.\n╰─> See above for output.\n",
            1,
            "'badgone==1.0' could not be built: what its build needs cannot be installed\n  Could not find a version that satisfies the requirement nodep",
        ),
        // pip 25.
        (
            "Processing ./dist/badgone-1.0.tar.gz\n  × installing build dependencies for badgone did not run successfully.\n\
             \x20 ╰─> [5 lines of output]\n      ERROR: No matching distribution found for nodep\n      [end of output]\n\
             ERROR: Failed to build 'badgone' when installing build dependencies for badgone\n",
            1,
            "'badgone' could not be built: what its build needs cannot be installed\n  No matching distribution found for nodep",
        ),
        (
            "Collecting badmeta\n  × Getting requirements to build wheel did not run successfully.\n  ╰─> [21 lines of output]\n\
             \x20     RuntimeError: no metadata for you\n      [end of output]\n\
             ERROR: Failed to build 'badmeta' when getting requirements to build wheel\n",
            1,
            "'badmeta' could not be built\n  RuntimeError: no metadata for you",
        ),
        ("something\nelse\n", 3, "exit code 3"),
    ] {
        assert!(told(text, code).contains(reason), "{text} -> {}", told(text, code));
    }
}

#[test]
fn failures_of_uv_are_explained() {
    for (text, reason) in [
        (
            "error: The lockfile at `uv.lock` needs to be updated, but `--locked` was provided. To update the lockfile, run `uv lock`.",
            "out of step",
        ),
        (
            "error: The requested interpreter resolved to Python 3.11.2, which is incompatible with the project's Python requirement: `>=3.13`",
            ">=3.13",
        ),
        (
            "  × Failed to build `x==1`\n  ├─▶ The build backend returned an error\n  error: command 'gcc' failed: No such file or directory",
            "apt install build-essential",
        ),
        (
            "error: Failed to fetch: `https://example.org/x`\n  Caused by: error sending request for url\n",
            "cannot reach",
        ),
        // uv 0.13.
        (
            "Using CPython 3.11.2\nerror: Failed to build `x==1.0`\n  cause: The build backend returned an error\n\n         [stdout]\n\
             \x20        running build\n\n         [stderr]\n         x.c:1:10: fatal error: nothere.h: No such file or directory\n\
             \x20            1 | #include <nothere.h>\n         error: Command '['gcc', '-c']' returned non-zero exit status 1.\n\n\
             hint: `x` (v1.0) was included because `app` (v1) depends on `x`\n",
            "'x 1.0' could not be built\n  error: Failed to build `x==1.0`\n    cause: The build backend returned an error\n  \
             x.c:1:10: fatal error: nothere.h: No such file or directory\n  hint: `x` (v1.0) was included",
        ),
        (
            "Using CPython 3.11.2\nCreating virtual environment at: .venv\nerror: No solution found when resolving dependencies\n\
             \x20 cause: Because x was not found in the package registry and your project depends on x==1.0\n",
            "exit code 1\n  error: No solution found when resolving dependencies\n    cause: Because x was not found",
        ),
        ("  × Failed to download `x==1`\n  ╰─▶ Hash mismatch for `x==1`", "hashes in uv.lock"),
    ] {
        let ended = StepOutcome {
            code: 1,
            lines: text.lines().map(str::to_owned).collect(),
            out_of_memory: false,
            peak: 0,
        };
        let said = explain_uv("uv", &ended);
        let said = anyhow::Error::from(said);
        let all = format!("{said} {:?}", piku_report::user_error::advice(&said).0);
        assert!(all.contains(reason), "{text} -> {all}");
    }
}
