//! The compiled packages of Go's standard library that web programs use. They are compiled once for each Go
//! of the machine, by piku alone, and copied into the build cache of each app, which the app's steps may
//! write to.

#![expect(clippy::disallowed_methods, reason = "compilers of the machine")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

use super::toolchain::GoChoice;
use crate::plan::build_plan::LayerPlan;
use crate::runtime::BuildTarget;
use crate::step::build_step::BuildStep;
use piku_files::free_space::SpaceNeeded;

const NAME: &str = "go-std";
/// Name of the step that copies them.
const COPY_STEP: &str = "go cache";
/// Increased when the layers are made in another way.
const FORMAT: u32 = 1;
/// The packages; those that they import come with them.
const PACKAGES: [&str; 19] = [
    "archive/zip",
    "database/sql",
    "embed",
    "encoding/csv",
    "encoding/gob",
    "encoding/xml",
    "expvar",
    "html/template",
    "image/jpeg",
    "image/png",
    "log/slog",
    "net/http/cookiejar",
    "net/http/httputil",
    "net/http/pprof",
    "net/smtp",
    "os/signal",
    "os/user",
    "text/tabwriter",
    "time/tzdata",
];
/// Copies the packages, once for each Go. An incomplete copy does no harm: go checks what it reads, and
/// compiles the rest.
const COPY: &str = r#"[ -d "$0" ] && [ ! -e "$GOCACHE/$1" ] || exit 0
mkdir -p "$GOCACHE" && cp -R "$0/." "$GOCACHE" && : >"$GOCACHE/$1" || exit 0"#;

/// Plans the layer with the packages; `None` where apps share no tools, or compile for another machine or
/// with a Go that is fetched first.
pub(super) fn plan_layer(
    choice: &GoChoice,
    target: &BuildTarget,
    build_env: &BTreeMap<String, String>,
) -> Option<LayerPlan> {
    if !target.tools.is_shared() || target.cross.is_some() || choice.fetched.is_some() {
        return None;
    }
    let root = &choice.installed.root;
    let mut key = target.tool_key(NAME, FORMAT, true);
    key.field("go", root.as_os_str().as_encoded_bytes());
    key.field("version", &fs::read(root.join("VERSION")).unwrap_or_default());
    // What it compiles with cgo depends on the C compiler too.
    for compiler in ["/usr/bin/gcc", "/usr/bin/cc"] {
        let stat = fs::metadata(compiler);
        let stamp = stat.map_or_else(|_| String::new(), |stat| format!("{} {}", stat.size(), stat.mtime()));
        key.field(compiler, stamp.as_bytes());
    }
    let key = key.finish();
    let mount = target.tool_mount(NAME, &key);
    let cache = format!("GOCACHE={}", mount.display());
    let go = choice.installed.program().to_string_lossy().into_owned();
    let mut run = vec!["/usr/bin/env", &cache, &go, "build", "-trimpath"];
    // Older Gos do not have it.
    run.extend(PACKAGES.iter().filter(|name| choice.minor() >= 21 || **name != "log/slog"));
    Some(LayerPlan {
        name: NAME,
        steps: vec![BuildStep::new("go std", &run, true)],
        key,
        mount,
        need: SpaceNeeded { bytes: 150_000_000, files: 1000 },
        is_shared: true,
        env: build_env.clone(),
        ..LayerPlan::default()
    })
}

/// Returns the step that copies the packages into the app's cache.
pub(super) fn copy_step(layer: &LayerPlan) -> BuildStep {
    let mark = format!("piku-{}", &layer.key[..12]);
    BuildStep::new(COPY_STEP, &["/bin/sh", "-c", COPY, &layer.mount.to_string_lossy(), &mark], true)
}
