use clap::CommandFactory;
use jiff::Timestamp;

use super::values::parse_since;
use super::*;

fn parse(words: &[&str]) -> Result<RunCommand, clap::Error> {
    RunCli::try_parse_from(["piku-run"].iter().chain(words)).map(|cli| cli.command)
}

#[test]
fn the_definition_is_sound() {
    RunCli::command().debug_assert();
}

#[test]
fn counts_and_formations() {
    let Ok(RunCommand::Scale { counts, .. }) = parse(&["scale", "blog", "web=2", "worker=0"]) else {
        panic!()
    };
    assert_eq!(counts.len(), 2);
    // As `heroku ps:scale` prints it.
    let Ok(RunCommand::Scale { counts, .. }) = parse(&["scale", "blog", "web=2:Standard-1X"]) else {
        panic!()
    };
    assert_eq!(counts, [("web".parse().unwrap(), 2)]);
    let Ok(RunCommand::Start(start)) = parse(&["start", "-m", "web=2,worker=1"]) else { panic!() };
    assert_eq!(start.formation, [("web".parse().unwrap(), 2), ("worker".parse().unwrap(), 1)]);
    for bad in ["web", "web=", "web=-1", "web=1001", "web=:2", "=1", "we b=1"] {
        assert!(parse(&["scale", "blog", bad]).is_err(), "{bad}");
    }
}

#[test]
fn what_must_be_said_must_be_said() {
    for bad in [
        &["stop"][..],
        &["stop", "--all", "blog"],
        &["destroy", "blog"],
        &["deploy", "../x", "r"],
        &["exec", "blog"],
        &[],
    ] {
        assert!(parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn the_command_of_exec_is_data() {
    let Ok(RunCommand::Exec { command, .. }) = parse(&["exec", "blog", "--", "--help", "-x"]) else {
        panic!()
    };
    assert_eq!(command, ["--help", "-x"]);
    let Ok(RunCommand::Logs(logs)) = parse(&["logs", "blog", "--deploy", "-f"]) else { panic!() };
    assert_eq!(logs.deploy, Some(None));
    let Ok(RunCommand::Logs(logs)) = parse(&["logs", "blog", "--deploy", "7"]) else { panic!() };
    assert_eq!(logs.deploy, Some(Some(7)));
}

#[test]
fn since_is_a_time_or_how_long_ago() {
    assert_eq!(parse_since("2026-11-22T11:00:00+01:00"), Ok("2026-11-22T10:00:00Z".parse().unwrap()));
    for (word, seconds) in [("10m", 600), ("2h", 7200), ("1d", 86400), ("1h30m", 5400), ("90s", 90)] {
        let then = parse_since(word).unwrap();
        let ago = Timestamp::now().duration_since(then).as_secs();
        assert!((seconds..seconds + 60).contains(&ago), "{word}: {ago}");
    }
    let ages = ["today", "yesterday"]
        .map(|day| Timestamp::now().duration_since(parse_since(day).unwrap()).as_hours());
    assert!((0..26).contains(&ages[0]) && (23..50).contains(&ages[1]), "{ages:?}");
    for bad in ["", "10", "2026-11-22", "10x", "99999999d"] {
        assert!(parse_since(bad).is_err(), "{bad}");
    }
}
