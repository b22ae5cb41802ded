//! `scripts/bench`: its list of benches, and the structure of its table. Figures are not looked at.

use std::process::{Command, Output};

use piku_tests::tools::{built, repository};

fn run_bench(args: &[&str]) -> Output {
    Command::new("sh").arg(repository().join("scripts/bench")).args(args).output().expect("bench runs")
}

#[test]
fn bench_lists_and_refuses_names() {
    let output = run_bench(&["--list"]);
    let list = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{list}");
    for line in list.lines() {
        let (name, what) = line.split_once(' ').expect("a name and its description");
        assert!(repository().join("scripts/benches").join(name).is_file(), "{line}");
        assert!(!what.trim().is_empty(), "{line} has no description");
    }
    assert!(
        ["ps ", "memory ", "jail-start "].iter().all(|name| list.contains(&format!("\n{name}"))),
        "{list}"
    );
    for wrong in [&["../bench"][..], &["nothing"], &["--rounds", "0"], &["--rounds"], &["--wrong"]] {
        let output = run_bench(wrong);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{wrong:?}");
    }
}

#[test]
fn bench_prints_table() {
    if !nix::unistd::geteuid().is_root() {
        assert_eq!(run_bench(&["ps"]).status.code(), Some(2));
        return;
    }
    let tools = built();
    let output =
        run_bench(&["--binaries", tools.to_str().expect("a path"), "--rounds", "1", "ps", "jail-start"]);
    let (table, talk) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{table}{talk}");
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    assert!(rows.iter().all(|row| row.len() == 5), "{table}");
    assert_eq!(rows[0], ["what", "piku", "floor or best peer", "ratio", "aim"]);
    for what in ["ps APP", "jail start, in units of true"] {
        let row =
            rows.iter().find(|row| row[0] == what).unwrap_or_else(|| panic!("no row '{what}': {table}"));
        let figure = row[1].split(' ').next().expect("a figure");
        assert!(figure.parse::<f64>().is_ok_and(|figure| figure > 0.0), "{row:?}");
    }
    assert!(table.contains(" processors, "), "the machine is named: {table}");
}
