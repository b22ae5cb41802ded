//! Manifests as builds write them, and as strangers do.

use super::*;
use proptest::prelude::*;

const GOOD: &str = "\
app: blog
number: 7
commit: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
subject: One
by: alice
origin: rollback
tree_of: 3
at: 2026-01-02T03:04:05Z
architecture: x86_64
runtime: python
version: 3.11.2
version_from: .python-version
layers:
- {name: venv, key: KEY, mount: /layers/venv}
host: [/opt/pythons/3.11.2]
profile: true
kept: [KEY]
processes: {web: 'gunicorn app:app', cron-1: '@daily ./tidy'}
env: {PATH: '/layers/venv/bin:/usr/bin', PYTHONUNBUFFERED: '1'}
jailed: true
more: {anything: at all}
";

fn good() -> String {
    GOOD.replace("KEY", &"a1".repeat(32))
}

fn facts(homes: &[PathBuf]) -> LocalFacts<'_> {
    LocalFacts {
        number: 12,
        via: Some("builder"),
        architecture: &ReleaseArchitecture::Any,
        native: None,
        has_profile: false,
        homes,
        may_be_unjailed: false,
        now: "2026-06-01T00:00:00Z".parse().unwrap(),
    }
}

fn release(text: &str) -> BuiltRelease {
    let homes = [PathBuf::from("/opt/pythons/3.11.2")];
    ReceivedManifest::parse(text.as_bytes()).unwrap().into_release(&facts(&homes)).unwrap()
}

#[test]
fn what_this_machine_knows_is_not_taken() {
    let made = release(&good());
    assert_eq!((made.number, made.origin, made.tree_of), (12, ReleaseOrigin::Deploy, None));
    assert_eq!((made.profile, made.kept.len(), made.by.as_str()), (false, 0, "alice via builder"));
    assert_eq!((made.architecture.as_str(), made.native), ("any", None));
    assert_eq!(made.processes.len(), 2);
    assert_eq!(made.at.to_string(), "2026-01-02T03:04:05Z");
    let late = good().replace("2026-01-02T", "9998-01-02T");
    assert_eq!(release(&late).at.to_string(), "2026-06-01T00:00:00Z");
    let loud =
        good().replace("subject: One", "subject: \"a\\e[2Jb\\nc\"").replace("by: alice", "by: \"a\\x07\"");
    let made = release(&loud);
    assert_eq!((made.subject.as_str(), made.by.as_str()), ("a[2Jb", "a via builder"));
}

#[test]
fn folders_of_the_host_are_those_of_this_machines_interpreters() {
    let parse = |host: &str| {
        let text = good().replace("host: [/opt/pythons/3.11.2]", &format!("host: [{host}]"));
        ReceivedManifest::parse(text.as_bytes()).unwrap()
    };
    let homes = [PathBuf::from("/opt/pythons/3.11.2")];
    for host in
        ["/home/piku", "/", "/opt/pythons", "/opt/pythons/3.11.2/../../x", "/opt/pythons/3.11.2/lib", "."]
    {
        let err = parse(host).into_release(&facts(&homes)).unwrap_err().to_string();
        assert!(err.contains("no interpreter of this machine is there"), "{host}: {err}");
    }
    assert_eq!(parse("/opt/pythons/3.11.2").into_release(&facts(&homes)).unwrap().host, homes);
    assert!(parse("/opt/pythons/3.11.2").into_release(&facts(&[])).is_err());
}

#[test]
fn only_the_operator_takes_the_jail_away() {
    let text =
        good().replace("jailed: true", "jailed: false").replace("host: [/opt/pythons/3.11.2]", "host: []");
    let parse = || ReceivedManifest::parse(text.as_bytes()).unwrap();
    let err = parse().into_release(&facts(&[])).unwrap_err().to_string();
    assert!(err.contains("without a jail"), "{err}");
    assert!(!parse().into_release(&LocalFacts { may_be_unjailed: true, ..facts(&[]) }).unwrap().jailed);
}

#[test]
fn each_field_is_held_to_what_a_build_writes() {
    let key = "a1".repeat(32);
    let layer = format!("- {{name: venv, key: {key}, mount: /layers/venv}}");
    for (was, is, word) in [
        ("app: blog", "app: ../blog", "app name"),
        ("commit: a", "commit: --", "commit"),
        ("commit: a", "commit: ", "commit"),
        ("architecture: x86_64", "architecture: 'x86 64'", "architecture"),
        ("architecture: x86_64", "architecture: ''", "architecture"),
        ("runtime: python", "runtime: \"a\\nb\"", "runtime"),
        ("version: 3.11.2", "version: ../../x", "version"),
        ("at: 2026-01-02T03:04:05Z", "at: soon", "at"),
        ("jailed: true", "jailed: perhaps", "jailed"),
        ("jailed: true", "", "jailed"),
        ("name: venv", "name: ../venv", "plain word"),
        (key.as_str(), "../../../etc", "key"),
        ("mount: /layers/venv", "mount: /etc", "no place below"),
        ("mount: /layers/venv", "mount: /layers", "no place below"),
        ("mount: /layers/venv", "mount: /layers/a/b", "no place below"),
        ("mount: /layers/venv", "mount: /layers/..", "no place below"),
        ("mount: /layers/venv", "mount: /app/../etc", "no place below"),
        ("mount: /layers/venv", "mount: /application/x", "no place below"),
        ("mount: /layers/venv", "mount: \"/layers/a\\nb\"", "no place below"),
        ("mount: /layers/venv", "mount: layers/venv", "no place below"),
        (layer.as_str(), &format!("{layer}\n{layer}"), "two layers"),
        ("gunicorn app:app'", "gunicorn\n\n  app:app'", "Procfile"),
        ("gunicorn app:app'", "'", "Procfile"),
        ("{web: ", "{web.1: ", "process type"),
        ("processes: {", "processes: {} #", "empty"),
        ("PYTHONUNBUFFERED:", "'A B':", "no variable"),
        ("PYTHONUNBUFFERED:", "'A=B':", "no variable"),
        ("PYTHONUNBUFFERED:", "PORT:", "piku's own"),
        ("PYTHONUNBUFFERED:", "PIKU_APP:", "piku's own"),
        ("'1'}", "\"\\0\"}", "no environment"),
        ("'1'}", "[1]}", "env"),
    ] {
        let text = good().replace(was, is);
        assert_ne!(text, good(), "{was}");
        let err = format!("{:#}", ReceivedManifest::parse(text.as_bytes()).expect_err(is));
        assert!(err.starts_with("bad release.yaml: ") && err.contains(word), "{is}: {err}");
        assert!(err.len() < 500 && !err.contains('\x1b'), "{err}");
    }
}

#[test]
fn what_grows_without_end_is_given_up() {
    let laughs: String = (1..20).fold("a0: &a0 [x]\n".to_owned(), |text, n| {
        let all = vec![format!("*a{}", n - 1); 9].join(", ");
        format!("{text}a{n}: &a{n} [{all}]\n")
    });
    let name = format!("&a {}", "x".repeat(400_000));
    let long = good().replace("app: blog", &format!("app: blog\nx: {name}"));
    let aliases: Vec<_> = (0..1000).map(|n| format!("V{n}: *a")).collect();
    let long = long.replace("'1'}", &format!("'1', {}}}", aliases.join(", ")));
    for text in [format!("{laughs}{}", good()), long] {
        let err = format!("{:#}", ReceivedManifest::parse(text.as_bytes()).unwrap_err());
        assert!(err.starts_with("bad release.yaml: ") && err.contains("its aliases"), "{err}");
    }
    assert!(ReceivedManifest::parse("[".repeat(100_000).as_bytes()).is_err());
    assert!(ReceivedManifest::parse(&vec![b' '; untrusted_yaml::LONGEST + 1]).is_err());
    let many = (0..2000).map(|n| format!("  V{n}: x")).collect::<Vec<_>>().join("\n");
    let text = good()
        .replace("env: {PATH: '/layers/venv/bin:/usr/bin', PYTHONUNBUFFERED: '1'}", &format!("env:\n{many}"));
    let err = format!("{:#}", ReceivedManifest::parse(text.as_bytes()).unwrap_err());
    assert!(err.contains("more than 1024 variables"), "{err}");
}

/// Parts of a manifest that is nearly good, so that more than the parser of YAML is met.
fn field() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        "[ -~]{0,40}",
        "/(home|layers|app|opt|etc|usr)(/[a-z.]{0,8}){0,3}",
        Just("true".to_owned()),
        Just("false".to_owned()),
        "\\[[a-z/, .]{0,30}\\]",
        "\\{[a-zA-Z_]{1,8}: [ -~&&[^{}]]{0,20}\\}",
    ];
    let name = prop::sample::select(vec![
        "app",
        "number",
        "commit",
        "subject",
        "by",
        "origin",
        "tree_of",
        "at",
        "architecture",
        "runtime",
        "version",
        "version_from",
        "layers",
        "host",
        "profile",
        "kept",
        "processes",
        "env",
        "jailed",
    ]);
    (name, value).prop_map(|(name, value)| format!("{name}: {value}\n"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_manifest_makes_a_release_that_no_push_could(fields in prop::collection::vec(field(), 0..4)) {
        let mut text = good();
        for field in fields {
            let name = field.split(':').next().unwrap_or_default().to_owned();
            let lines = text.lines().filter(|line| !line.starts_with(&format!("{name}:")));
            // The list under 'layers:' goes with it.
            let lines: Vec<_> = lines.filter(|line| name != "layers" || !line.starts_with("- ")).collect();
            text = format!("{}\n{field}", lines.join("\n"));
        }
        check(text.as_bytes());
    }

    #[test]
    fn no_bytes_break_the_reader(text in prop::collection::vec(any::<u8>(), 0..400)) {
        check(&text);
    }
}

/// Whatever comes in, what comes of it holds to the rules.
fn check(text: &[u8]) {
    let homes = [PathBuf::from("/opt/pythons/3.11.2")];
    let Ok(manifest) = ReceivedManifest::parse(text) else { return };
    let Ok(release) = manifest.into_release(&facts(&homes)) else { return };
    assert!(release.jailed && release.number == 12 && release.kept.is_empty());
    assert!(release.host.iter().all(|home| homes.contains(home)));
    assert!(
        release
            .layers
            .iter()
            .all(|layer| { layer.mount.starts_with("/layers/") || layer.mount.starts_with("/app/") })
    );
    assert!(!release.env.contains_key("PORT"));
    // What is written can be read again, as the same.
    let text = serde_yaml::to_string(&release).unwrap();
    assert_eq!(serde_yaml::from_str::<BuiltRelease>(&text).unwrap(), release);
}
