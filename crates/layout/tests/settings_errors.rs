//! Messages about wrong values in `host.yaml`, for each of its settings: in plain words, without names of types.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use piku_layout::settings::HostSettings;
use serde_yaml::{Mapping, Value};

/// Every setting with a good value.
const COMPLETE: &str = "
sandbox: prefer
protections: [namespaces]
app_users: own
network: {blog: own}
grants: {blog: [/dev/i2c-1]}
ports: {first: 20000, last: 29999}
service_ports: {first: 15400, last: 15499}
domain: example.org
nginx:
  enabled: true
  http: [80]
  https: ['0.0.0.0:443']
  connections: 1024
  drain: 10
  ipv6: true
  worker_shutdown_timeout: 60
  max_old_workers: 4
  acme: certbot
  acme_email: ops@example.org
  acme_server: https://acme.test/directory
  cloudflare_ranges: /etc/ranges
  trusted_proxies: [10.0.0.1]
  certificates: [/etc/certificates]
logs: {megabytes: 10, keep: 5, flush: 30s}
notify: {command: cat, webhook: 'https://chat.test/x', format: slack, mail: ops@example.org}
status: {enabled: true, domain: status.example.org}
backups:
  nightly:
    schedule: '@daily'
    apps: [blog]
    to: /srv/backups
    command: cat
    keep: 7
    max_hours: 6
    age: age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p
    identity: /etc/identity
    known_hosts: /etc/known_hosts
deploy_to:
  blog:
    machines: [piku@pi-2]
    identity: /etc/identity
    known_hosts: /etc/known_hosts
    here: true
    all_or_nothing: true
    rolling: true
    skip_down: true
    front: {port: 80, addresses: {pi-2: 10.0.0.2}}
    patience: 60
    time_limit: 3600
    kubernetes:
      context: pi
      namespace: shop
      kubeconfig: /etc/kubeconfig
      kubectl: /usr/bin/kubectl
      registry: registry.test
      registry_auth: /etc/auth
      registry_tls: true
      nodes: [piku@pi-3]
      architecture: arm64
      base: /srv/base
      packages: [libpq5]
      data_size: 1Gi
      storage_class: local-path
      shared_data: true
      ingress_class: traefik
      cluster_issuer: letsencrypt
      traefik_resolver: letsencrypt
      pull_secret: registry
      writable_root: true
architecture: armv6l
build_env: {PROXY: 'http://proxy.test'}
build_timeout: 3600
deploy_log: 10
lock_timeout: 7200
keep_releases: 5
keep_destroyed: 30d
cache_limit: 2048
image_bases: 2048
build_memory: 512m
build_nice: 10
max_push_size: 4096
disk_reserve: 64
";

/// Words of which none belongs in a message.
const FOREIGN: [&str; 9] =
    ["struct", "enum", "untagged", "variant", "tuple", "newtype", "sequence", "floating", "integer"];

fn error_of(settings: &Value) -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("host.yaml");
    std::fs::write(&path, serde_yaml::to_string(settings).unwrap()).unwrap();
    let err = HostSettings::read(&path).err()?;
    Some(err.root_cause().to_string())
}

/// Keys and positions that lead to a value.
type ValuePath = Vec<Value>;

fn collect_paths(value: &Value, path: &ValuePath, found: &mut Vec<ValuePath>) {
    let entries: Vec<(Value, &Value)> = match value {
        Value::Mapping(entries) => entries.iter().map(|(key, value)| (key.clone(), value)).collect(),
        Value::Sequence(items) => {
            items.iter().enumerate().map(|(index, item)| (index.into(), item)).collect()
        }
        _ => Vec::new(),
    };
    found.push(path.clone());
    for (key, value) in entries {
        let path = [path.as_slice(), &[key]].concat();
        collect_paths(value, &path, found);
    }
}

fn value_at<'a>(settings: &'a mut Value, path: &[Value]) -> &'a mut Value {
    path.iter().fold(settings, |value, key| match key.as_u64() {
        Some(index) => value.get_mut(usize::try_from(index).unwrap()).unwrap(),
        None => value.get_mut(key).unwrap(),
    })
}

fn is_type_name(word: &str) -> bool {
    let is_number = matches!(word, "u8" | "u16" | "u32" | "u64" | "usize" | "i64" | "f64" | "bool");
    let capitals = word.chars().skip(1).filter(char::is_ascii_uppercase).count();
    let has_small = word.chars().any(|c| c.is_ascii_lowercase());
    is_number || word.starts_with(|c: char| c.is_ascii_uppercase()) && capitals > 0 && has_small
}

#[test]
fn a_wrong_value_of_any_setting_is_told_in_plain_words() {
    let complete: Value = serde_yaml::from_str(COMPLETE).unwrap();
    assert_eq!(error_of(&complete), None);
    let mut paths = Vec::new();
    collect_paths(&complete, &Vec::new(), &mut paths);
    let wrong = ["[[[]]]", "{nonsense: 1}", "1.5", "-1", "9999999999", "true", "'none such'", "''"];
    let mut bad = Vec::new();
    for path in paths.iter().filter(|path| !path.is_empty()) {
        for wrong in wrong {
            let mut settings = complete.clone();
            *value_at(&mut settings, path) = serde_yaml::from_str(wrong).unwrap();
            let Some(told) = error_of(&settings) else {
                assert_ne!(wrong, "[[[]]]", "{path:?} is not read");
                continue;
            };
            // What stands in backticks is the operator's.
            let own: String = told.split('`').step_by(2).collect();
            let mut words = own.split(|c: char| !c.is_ascii_alphanumeric());
            if words.any(|word| FOREIGN.contains(&word) || is_type_name(word)) {
                bad.push(format!("{path:?} = {wrong}: {told}"));
            }
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn the_example_has_every_setting() {
    let complete: Value = serde_yaml::from_str(COMPLETE).unwrap();
    let mut paths = Vec::new();
    collect_paths(&complete, &Vec::new(), &mut paths);
    let mut seen = 0;
    for path in &paths {
        let mut settings = complete.clone();
        let value = value_at(&mut settings, path);
        let Value::Mapping(entries) = value else { continue };
        let entries: Mapping = entries.clone();
        value.as_mapping_mut().unwrap().insert("nonsense".into(), 1.into());
        let Some(told) = error_of(&settings) else { continue };
        let Some((_, names)) = told.split_once("expected one of ") else { continue };
        for name in names.split('`').skip(1).step_by(2).filter(|name| *name != "deploy-to") {
            seen += 1;
            assert!(entries.contains_key(name), "{path:?} has no {name}");
        }
    }
    assert!(seen > 60, "{seen}");
}
