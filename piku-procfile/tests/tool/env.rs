//! `env` prints and checks the ENV file.

use piku_tests::snapshot::{assert_snapshot, str};

use crate::support::Tool;

#[test]
fn env_prints_values_for_a_shell() {
    let text = "A=1\nB='a b'\nC=\"it's $A\"\nD=\nE=\"a\\nb\"\nU=http://h/?a=1&b=2\n";
    Tool::new(&["env"]).file("ENV", text).prints(str![[r#"
A=1
B='a b'
C="it's 1"
D=
E='a
b'
U='http://h/?a=1&b=2'

"#]]);
    Tool::new(&["env", "-", "--format", "json"]).stdin(text).prints(str![[r#"
{
  "A": "1",
  "B": "a b",
  "C": "it's 1",
  "D": "",
  "E": "a\nb",
  "U": "http://h/?a=1&b=2"
}

"#]]);
    Tool::new(&["env", "--format", "yaml"])
        .file("ENV", "A=1\nB=yes\nC=null\nD=a: b\nE=\nF=0x1\nG=1e3\nH=~\n")
        .prints(str![[r#"
A: '1'
B: yes
C: 'null'
D: 'a: b'
E: ''
F: '0x1'
G: '1e3'
H: '~'

"#]]);
}

#[test]
fn env_takes_the_platforms_names_and_no_others_from_its_own_environment() {
    let text = "A=$PORT\nB=${SECRET:-none}\n";
    Tool::new(&["env"]).file("ENV", text).env("PORT", "5000").env("SECRET", "x").prints(str![[r#"
A=5000
B=none

"#]]);
    let (stdout, stderr, code) = Tool::new(&["env"]).file("ENV", text).run();
    assert_eq!((stdout.as_str(), code), ("A=\nB=none\n", 0));
    assert_snapshot(
        &stderr,
        str![[r#"
ENV:1:3: warning: 'PORT' is set only when the app runs: it is empty here
    A=…
hint: set it in the environment to see its value

"#]],
    );
}

#[test]
fn env_check_prints_nothing_when_all_is_well() {
    Tool::new(&["env", "--check"]).file("ENV", "A=$PORT\nB=${DATA_DIR:?}\n").prints("");
    Tool::new(&["env", "--check", "-"]).stdin("A = 1\nB\n").says(
        1,
        str![[r#"
ENV:1:2: a blank before the '='
    A =…
     ^
hint: remove the blanks around '=': NAME=value
ENV:2: this is not NAME=value: it has no '='
hint: put a value of several lines between quotes

"#]],
    );
}

#[test]
fn env_piku_compat() {
    let (stdout, stderr, code) = Tool::new(&["env", "--piku-compat"]).file("ENV", "A='x'\n").run();
    assert_eq!((stdout.as_str(), code), ("A=\"'x'\"\n", 0));
    assert_snapshot(
        &stderr,
        str![[r#"
ENV:1: warning: --piku-compat keeps the quotes as part of the value

"#]],
    );
}
