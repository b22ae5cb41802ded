//! `status` and `metrics`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::html_page::read_page;
use crate::support::{SERVE, Server, until};

/// Checks the text by the rules of `OpenMetrics` 1.0 and returns the samples by their name and labels.
#[expect(clippy::unwrap_used, reason = "a test may panic")]
fn parse_open_metrics(text: &str) -> BTreeMap<String, f64> {
    let body = text.strip_suffix("# EOF\n").expect("it ends with # EOF");
    assert!(!body.contains("# EOF") && !body.contains("\n\n") && !body.contains('\r'), "{text}");
    let (mut samples, mut families) = (BTreeMap::new(), BTreeSet::new());
    // Name, type and the kinds of metadata of the present family.
    let (mut family, mut kind, mut told) = (String::new(), String::new(), BTreeSet::new());
    for line in body.lines() {
        if let Some(metadata) = line.strip_prefix("# ") {
            let mut words = metadata.splitn(3, ' ');
            let (what, name, text) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
            if name != family {
                assert!(families.insert(name.to_owned()), "{name} comes twice");
                (family, kind, told) = (name.to_owned(), String::new(), BTreeSet::new());
            }
            assert!(told.insert(what.to_owned()), "{what} of {name} comes twice");
            match what {
                "TYPE" => {
                    assert!(["gauge", "counter"].contains(&text), "{line}");
                    assert!(text != "counter" || !name.ends_with("_total"), "{line}");
                    text.clone_into(&mut kind);
                }
                "UNIT" => assert!(name.ends_with(&format!("_{text}")), "{line}"),
                "HELP" => {
                    assert!(!text.contains('\\') && text.ends_with('.') || text.contains(';'), "{line}");
                }
                _ => panic!("{line}"),
            }
            continue;
        }
        let name_end = line.find(['{', ' ']).unwrap();
        let name = &line[..name_end];
        let expected = if kind == "counter" { format!("{family}_total") } else { family.clone() };
        assert_eq!(name, expected, "a sample follows the metadata of its family");
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{line}");
        let mut rest = &line[name_end..];
        let mut labels = BTreeMap::new();
        if let Some(mut inside) = rest.strip_prefix('{') {
            loop {
                let (label, value) = inside.split_once("=\"").unwrap();
                // The end is a quote without a backslash before it.
                let mut end = 0;
                while !value[end..].starts_with('"') {
                    if value[end..].starts_with('\\') {
                        assert!(["\\\\", "\\\"", "\\n"].contains(&&value[end..end + 2]), "{line}");
                        end += 2;
                    } else {
                        end += value[end..].chars().next().unwrap().len_utf8();
                    }
                }
                assert!(labels.insert(label.to_owned(), value[..end].to_owned()).is_none(), "{line}");
                inside = &value[end + 1..];
                match inside.strip_prefix(',') {
                    Some(more) => inside = more,
                    None => break,
                }
            }
            rest = inside.strip_prefix('}').unwrap();
        }
        let value: f64 = rest.strip_prefix(' ').unwrap().parse().unwrap();
        assert!(value.is_finite() && (kind != "counter" || value >= 0.0), "{line}");
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let sample = format!("{name} {}", labels.join(" "));
        assert!(samples.insert(sample, value).is_none(), "the labels are not unique: {line}");
    }
    samples
}

#[test]
fn the_state_of_all_apps_as_text_data_and_metrics() {
    let server = Server::new();
    let empty = server.good(&["metrics"]).0;
    assert!(parse_open_metrics(&empty).contains_key("piku_disk_free_bytes "), "{empty}");

    server.deploy("one", &[("web", SERVE), ("worker", "exec sleep 1000"), ("cron-tick", "* * * * * true")]);
    server.release_of("shop", "two", &[]);
    fs::write(server.app("log/deploy-1.log"), "-----> Python\n\x1b[1mkey\x1b[0m hunter-22 used\n").unwrap();
    server.good(&["config", "blog", "set", "APP_KEY=hunter-22", "--no-restart"]);

    let json = server.good(&["status", "--format", "json"]).0;
    let status: serde_json::Value = serde_json::from_str(&json).unwrap();
    let blog = &status["apps"][0];
    assert_eq!(
        (&blog["app"], &blog["state"], &blog["release"]),
        (&"blog".into(), &"running".into(), &1.into())
    );
    assert_eq!(blog["processes"][0]["state"], "healthy");
    assert!(blog["processes"][0]["memory_bytes"].as_u64() > Some(0), "{blog}");
    assert_eq!(blog["deploys"][0]["log"], serde_json::json!(["-----> Python", "key [secret] used"]));
    assert!(!json.contains("hunter-22"), "{json}");
    assert!(status["disk"]["free_bytes"].as_u64() > Some(0), "{status}");

    let text = server.good(&["status"]).0;
    for part in ["disk ", "\nAPP   STATE    RELEASE", "\nblog  running  1", "2/2", "cron-tick", "NEXT RUN"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert_eq!(server.good(&["status", "--none"]).0.lines().count(), 1, "only the machine");
    let said = server.bad(1, &["status", "nosuch"]);
    assert!(said.contains("there is no app 'nosuch'"), "{said}");

    until("the cron job has run", || {
        server.good(&["restart", "blog", "cron-tick"]);
        let samples = parse_open_metrics(&server.good(&["metrics"]).0);
        samples.get("piku_cron_last_run_success app=blog type=cron-tick") == Some(&1.0)
    });
    let samples = parse_open_metrics(&server.good(&["metrics", "blog"]).0);
    for (sample, value) in [
        ("piku_app_state app=blog state=running", 1.0),
        ("piku_app_release app=blog", 1.0),
        ("piku_deploys_total app=blog result=failed", 0.0),
        ("piku_instance_up app=blog instance=web.1 type=web", 1.0),
        ("piku_instance_healthy app=blog instance=web.1 type=web", 1.0),
        ("piku_instance_healthy app=blog instance=worker.1 type=worker", 0.0),
        ("piku_instance_restarts_total app=blog instance=web.1 type=web", 0.0),
    ] {
        assert_eq!(samples.get(sample), Some(&value), "{sample} in {samples:#?}");
    }
    for sample in ["memory_bytes", "cpu_seconds_total", "uptime_seconds"] {
        let name = format!("piku_instance_{sample} app=blog instance=web.1 type=web");
        assert!(samples.contains_key(&name), "{name} in {samples:#?}");
    }
    assert!(!samples.keys().any(|name| name.contains("app=shop")), "{samples:#?}");
}

#[test]
fn the_daemon_keeps_the_page_and_the_history() {
    let mut server = Server::new();
    server.deploy("one", &[("web", SERVE), ("worker", "exec sleep 1000")]);
    let hostile = "</pre><script>alert(1)</script>\" onload=\"x\u{202e}";
    let attempt =
        serde_json::json!({"commit": "0", "subject": hostile, "by": "<b>eve", "at": "2026-01-02T03:04:05Z"});
    fs::write(server.app("log/deploy-2.json"), attempt.to_string()).unwrap();
    fs::write(server.app("log/deploy-2.log"), format!("line\n{hostile} TOKEN=abcdef\n")).unwrap();
    fs::write(server.app("history.json"), "damaged").unwrap();
    let page = server.root().join("status/index.html");
    assert!(!page.exists(), "it is off");

    let settings = fs::read_to_string(server.root().join("host.yaml")).unwrap() + "status: true\n";
    fs::write(server.root().join("host.yaml"), settings).unwrap();
    server.end_daemon(nix::sys::signal::Signal::SIGTERM);
    server.start_daemon();
    until("the daemon has written the page", || page.exists());
    until("and the metrics", || server.root().join("status/metrics").exists());
    parse_open_metrics(&fs::read_to_string(server.root().join("status/metrics")).unwrap());
    let kept = fs::read_to_string(&page).unwrap();
    let texts = read_page(&kept);
    let has =
        |place: &str, text: &str| texts.iter().any(|(at, found)| at.ends_with(place) && found.contains(text));
    assert!(has("article h3 span", "blog") && has("td span", "healthy"), "{texts:#?}");
    assert!(
        has("details pre", "TOKEN=[secret]") && has("details summary", "Log of deploy 2 of blog"),
        "{texts:#?}"
    );
    assert!(has("ol li p", "&lt;/pre&gt;&lt;script&gt;") && has("ol li p", "&lt;b&gt;eve"), "{texts:#?}");
    assert!(has("figcaption strong", "Memory") && has("figcaption", "MiB now"), "{texts:#?}");
    let status: serde_json::Value =
        serde_json::from_str(&server.good(&["status", "--format", "json"]).0).unwrap();
    let memory = status["apps"][0]["history"]["memory_bytes"].as_array().unwrap();
    assert_eq!((memory.len(), memory.iter().filter(|value| !value.is_null()).count()), (288, 1));

    let printed = server.good(&["status", "--html"]).0;
    read_page(&printed);
    assert!(!printed.contains("href=\"live") && kept.contains("href=\"live"));
    read_page(&server.good(&["status", "--html", "--none"]).0);
    let said = server.bad(2, &["status", "--html", "--format", "json"]);
    assert!(said.contains("cannot be used with"), "{said}");
}
