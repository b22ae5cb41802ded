//! The environment of a build step. Only declared variables are passed on: the caller's `GIT_DIR`, keys and
//! `PATH` are not part of the app.

#![expect(clippy::disallowed_methods, reason = "looks for the machine's certificates")]

use std::collections::BTreeMap;
use std::path::Path;

use crate::app::app_source::AppSource;
use crate::plan::build_plan::BuildPlan;
use piku_layout::jail::PATH;

/// The host's certificates: a site's own authority counts for the build as well.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Variables with the path of the certificates, as pip, OpenSSL, requests and Node read them.
const CERTIFICATE_VARIABLES: [&str; 4] =
    ["PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"];

/// Variables for processes of the app only: build steps compile, and install the tools for it.
const OF_WORKERS: [&str; 3] = ["PYTHONDONTWRITEBYTECODE", "NODE_ENV", "RUBYOPT"];

pub(crate) type Variables = BTreeMap<String, String>;

/// Returns the environment of a plan's steps. Later sources win: the base, the processes' variables of the
/// runtimes so far (`workers`), the plan's own for builds, the operator's `build_env`, the app's `ENV`, the
/// operator's config.
pub(crate) fn step_environment(
    workers: &Variables,
    plan: &BuildPlan,
    build_env: &Variables,
    source: &AppSource,
) -> Variables {
    let mut env = base();
    let of_builds = |(name, _): &(&String, &String)| !OF_WORKERS.contains(&name.as_str());
    env.extend(owned(workers.iter().filter(of_builds).chain(&plan.build_env)));
    declared(env, build_env, source)
}

/// Returns the environment of the steps of a tool that all apps share: nothing of an app, and `own` variables
/// of the tool before the operator's `build_env`.
pub(crate) fn tool_environment(own: &Variables, build_env: &Variables) -> Variables {
    let mut env = base();
    env.extend(owned(own.iter().chain(build_env)));
    env
}

/// Returns the environment of a preflight task, which runs before there is a plan.
pub(crate) fn preflight_environment(build_env: &Variables, source: &AppSource) -> Variables {
    declared(base(), build_env, source)
}

fn base() -> Variables {
    let mut env =
        Variables::from([("PATH".to_owned(), PATH.to_owned()), ("LANG".to_owned(), "C.UTF-8".to_owned())]);
    if let Some(certificates) = find_certificates() {
        env.extend(CERTIFICATE_VARIABLES.map(|name| (name.to_owned(), certificates.to_owned())));
    }
    env
}

/// Returns the path of the host's certificates, if it has them.
pub(crate) fn find_certificates() -> Option<&'static str> {
    Path::new(CERTIFICATES).exists().then_some(CERTIFICATES)
}

fn declared(mut env: Variables, build_env: &Variables, source: &AppSource) -> Variables {
    env.extend(owned(build_env.iter().chain(&source.env).chain(&source.config)));
    env
}

fn owned<'a>(
    pairs: impl Iterator<Item = (&'a String, &'a String)> + 'a,
) -> impl Iterator<Item = (String, String)> + 'a {
    pairs.map(|(name, value)| (name.clone(), value.clone()))
}
