//! Ranges of Python versions: `3.12`, `3.12.1`, `python-3.12.1`, `>=3.11,<3.14`, `~=3.11`, `3.12.*`.

use anyhow::bail;

use crate::runtime::version::{RuntimeVersion, VersionMatch};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum VersionOperator {
    /// The version begins with these parts.
    Prefix,
    /// The version does not begin with these parts.
    NotPrefix,
    /// The version is this one; missing numbers are 0, as in PEP 440.
    Equal,
    NotEqual,
    Less,
    AtMost,
    More,
    AtLeast,
    /// `~=`: at least this, and the same but for the last part.
    Compatible,
    /// `^`: at least this, and the same first part.
    Caret,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct VersionClause {
    op: VersionOperator,
    parts: Vec<u32>,
}

/// A range: all clauses hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PythonRange(Vec<VersionClause>);

impl PythonRange {
    /// Parses one line of a file.
    ///
    /// # Errors
    /// Returns the reason if it is not a version of Python or a range of them.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        let text = text.trim();
        let text = ["python-", "cpython-", "Python ", "python ", "python"]
            .iter()
            .find_map(|front| text.strip_prefix(front))
            .unwrap_or(text);
        if text.starts_with("pypy") || text.starts_with("graalpy") || text.contains("conda") {
            bail!("only CPython is supported");
        }
        let clauses: Vec<_> = text.split(',').map(parse_clause).collect::<anyhow::Result<_>>()?;
        Ok(Self(clauses))
    }

    /// Compares an installed version with the range. Another patch of an X.Y in the range is the same line.
    /// Newer and older lines match a single version only: a range says which lines are good.
    pub(crate) fn matches(&self, version: RuntimeVersion) -> VersionMatch {
        if self.0.iter().all(|clause| clause.holds(version)) {
            VersionMatch::Exact
        } else if self.0.iter().all(|clause| clause.holds_in_line(version)) {
            VersionMatch::SameLine
        } else {
            self.compare_single(version)
        }
    }

    /// Compares `version` with a range that is a single version, or the beginning of one. Another line of the
    /// same major version runs most of what was written for it.
    fn compare_single(&self, version: RuntimeVersion) -> VersionMatch {
        match self.0.as_slice() {
            [VersionClause { op: VersionOperator::Prefix | VersionOperator::Equal, parts }]
                if parts[0] == version.0[0] =>
            {
                let is_newer = parts.as_slice() <= &version.0[..parts.len()];
                if is_newer { VersionMatch::Newer } else { VersionMatch::Older }
            }
            _ => VersionMatch::Mismatch,
        }
    }
}

fn parse_clause(text: &str) -> anyhow::Result<VersionClause> {
    const OPS: [(&str, VersionOperator); 11] = [
        ("===", VersionOperator::Equal),
        ("~=", VersionOperator::Compatible),
        ("==", VersionOperator::Equal),
        ("!=", VersionOperator::NotEqual),
        (">=", VersionOperator::AtLeast),
        ("<=", VersionOperator::AtMost),
        (">", VersionOperator::More),
        ("<", VersionOperator::Less),
        ("^", VersionOperator::Caret),
        ("~", VersionOperator::Prefix),
        ("=", VersionOperator::Equal),
    ];
    let text = text.trim();
    let found = OPS.iter().find_map(|(sign, op)| text.strip_prefix(sign).map(|rest| (*op, rest, *sign)));
    let (op, rest, sign) = found.unwrap_or((VersionOperator::Prefix, text, ""));
    let mut parts = Vec::new();
    let mut has_wildcard = false;
    for part in rest.trim().trim_start_matches('v').split('.') {
        match part.parse() {
            Ok(number) => parts.push(number),
            Err(_) if matches!(part, "*" | "x") && !parts.is_empty() => {
                has_wildcard = true;
                break;
            }
            Err(_) => bail!("'{text}' is not a version"),
        }
    }
    if parts.len() > 3 {
        bail!("'{text}' has more than three parts");
    }
    // `~3.11.2` allows later patch releases, `~3.11` only those of its line.
    if sign == "~" && parts.len() == 3 {
        return Ok(VersionClause { op: VersionOperator::Compatible, parts });
    }
    if op == VersionOperator::Compatible && parts.len() < 2 {
        bail!("'{text}' needs two parts");
    }
    let op = match op {
        VersionOperator::Equal if has_wildcard => VersionOperator::Prefix,
        VersionOperator::NotEqual if has_wildcard => VersionOperator::NotPrefix,
        op => op,
    };
    Ok(VersionClause { op, parts })
}

impl VersionClause {
    fn holds(&self, RuntimeVersion(version): RuntimeVersion) -> bool {
        let parts = self.parts.as_slice();
        let mut padded = [0; 3];
        padded[..parts.len()].copy_from_slice(parts);
        let same = |count: usize| version[..count] == parts[..count];
        match self.op {
            VersionOperator::Prefix => same(parts.len()),
            VersionOperator::NotPrefix => !same(parts.len()),
            VersionOperator::Equal => version == padded,
            VersionOperator::NotEqual => version != padded,
            VersionOperator::Less => version < padded,
            VersionOperator::AtMost => version <= padded,
            VersionOperator::More => version > padded,
            VersionOperator::AtLeast => version >= padded,
            VersionOperator::Compatible => version >= padded && same(parts.len() - 1),
            VersionOperator::Caret => version >= padded && same(1),
        }
    }

    /// Returns whether the clause holds for some patch of the version's X.Y.
    fn holds_in_line(&self, RuntimeVersion(version): RuntimeVersion) -> bool {
        let count = self.parts.len().min(2);
        let (line, parts) = (&version[..count], &self.parts[..count]);
        let inside = self.parts.len() == 3;
        match self.op {
            VersionOperator::Prefix => line == parts,
            VersionOperator::NotPrefix => inside || line != parts,
            VersionOperator::Equal => line == parts && version[count..2].iter().all(|part| *part == 0),
            VersionOperator::NotEqual => true,
            VersionOperator::Less => line < parts || inside && line == parts && self.parts[2] > 0,
            VersionOperator::AtMost => line <= parts,
            VersionOperator::More | VersionOperator::AtLeast => line >= parts,
            VersionOperator::Compatible if inside => line == parts,
            VersionOperator::Compatible | VersionOperator::Caret => line >= parts && line[0] == parts[0],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matched(asked: &str, version: &str) -> VersionMatch {
        PythonRange::parse(asked).expect(asked).matches(RuntimeVersion::exact(version).unwrap())
    }

    #[test]
    fn exact_near_and_wrong() {
        for asked in [
            "3",
            "3.11",
            "3.11.2",
            "python-3.11.2",
            "cpython-3.11.2",
            "3.11.*",
            "3.11.x",
            "3.*",
            "==3.11.2",
            ">=3.10",
            ">=3.10,<3.12",
            ">= 3.10, < 4",
            "~=3.10",
            "~=3.11.1",
            "^3.10",
            "~3.11",
            "!=3.10.1",
            "!=3.11",
            ">=3.8,!=3.11",
            "==3.11.*",
            "<=3.11.2",
            ">3.11",
        ] {
            assert_eq!(matched(asked, "3.11.2"), VersionMatch::Exact, "{asked}");
        }
        for asked in [
            "3.11.9",
            "python-3.11.0",
            ">=3.11.5",
            ">=3.11.5,<3.12",
            "<3.11.2",
            "<=3.11",
            "~=3.11.4",
            "!=3.11.2",
            "==3.11",
            "===3.11",
            "= 3.11",
        ] {
            assert_eq!(matched(asked, "3.11.2"), VersionMatch::SameLine, "{asked}");
        }
        for asked in [
            "2.7.18",
            "3.12",
            "3.1",
            "4",
            ">=3.12",
            "<3.11",
            "~=3.12",
            "^4",
            "^2.7",
            ">=3.8,<3.11",
            "!=3.11.*",
            "==3",
            "==3.10",
            "~=3.10.4",
        ] {
            assert!(matched(asked, "3.11.2") > VersionMatch::SameLine, "{asked}");
        }
    }

    #[test]
    fn other_lines_of_a_single_version() {
        for (asked, expected) in [
            ("3.10", VersionMatch::Newer),
            ("3.10.4", VersionMatch::Newer),
            ("3.14", VersionMatch::Older),
            ("python-3.14.1", VersionMatch::Older),
            ("==3.12.1", VersionMatch::Older),
            (">=3.12", VersionMatch::Mismatch),
            ("2.7.18", VersionMatch::Mismatch),
            ("4", VersionMatch::Mismatch),
        ] {
            assert_eq!(matched(asked, "3.11.2"), expected, "{asked}");
        }
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for bad in [
            "",
            "pypy3.9-7.3.9",
            "latest",
            "3.12-dev",
            "3.13t",
            "3.a",
            "1.2.3.4",
            ">=",
            "~=3",
            "miniconda3",
            "*",
            "3.99999999999",
        ] {
            assert!(PythonRange::parse(bad).is_err(), "{bad}");
        }
    }
    /// Compares every operator, with versions around its bound, with `packaging`, pip's implementation of
    /// PEP 440.
    #[test]
    fn ranges_hold_what_packaging_says() {
        let versions: Vec<String> =
            (9..=12).flat_map(|y| (0..3).map(move |z| format!("3.{y}.{z}"))).collect();
        let bounds = ["3", "3.10", "3.10.0", "3.10.1", "3.11", "3.11.2"];
        let mut clauses = Vec::new();
        for sign in ["==", "!=", "<", "<=", ">", ">=", "~="] {
            clauses.extend(
                bounds
                    .iter()
                    .filter(|bound| sign != "~=" || bound.len() > 1)
                    .map(|bound| format!("{sign}{bound}")),
            );
        }
        for sign in ["==", "!="] {
            clauses.extend(["3", "3.10", "3.11"].map(|bound| format!("{sign}{bound}.*")));
        }
        let Some(expected) = packaging(&versions, &clauses) else { return };
        assert_eq!(expected.len(), clauses.len());
        for (asked, expected) in clauses.iter().zip(expected) {
            let ours: String = versions
                .iter()
                .map(|version| if matched(asked, version) == VersionMatch::Exact { '1' } else { '0' })
                .collect();
            assert_eq!(ours, expected, "{asked} of {versions:?}");
        }
    }

    /// Returns a row of 0 and 1 for each range: the versions that it contains.
    #[expect(clippy::print_stderr, reason = "a skipped test reports it")]
    fn packaging(versions: &[String], asked: &[String]) -> Option<Vec<String>> {
        let program = "import glob, sys\n\
            sys.path[:0] = glob.glob('/usr/share/python-wheels/pip-*.whl')\n\
            try: from pip._vendor.packaging.specifiers import SpecifierSet\n\
            except ImportError: sys.exit(75)\n\
            versions = sys.argv[1].split()\n\
            for line in sys.argv[2].split():\n \
            print(''.join(str(int(SpecifierSet(line).contains(v))) for v in versions))";
        let mut python = std::process::Command::new("python3");
        let out = python.args(["-I", "-c", program, &versions.join(" "), &asked.join(" ")]).output().ok();
        let out = out.filter(|out| out.status.code() != Some(75));
        let Some(out) = out else {
            eprintln!("skipped: python3 without pip");
            assert!(std::env::var_os("CI").is_none(), "nothing may be skipped with CI set");
            return None;
        };
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        Some(String::from_utf8_lossy(&out.stdout).lines().map(str::to_owned).collect())
    }
}
