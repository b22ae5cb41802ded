//! The compiled packages of Go's standard library that web programs use. They are compiled once for each Go
//! of the machine, by piku alone, and given to the build cache of each app: the large files, nearly all of
//! its size, as symlinks into the layer, which no step may write to, and the others as copies.
//!
//! go writes a large file again only if another one with the same hash is to be in its place. It forgets
//! what it has not used for days, by the date of a link's target; then the next build makes the links again.

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
/// Name of the step that gives them to the app's cache.
const COPY_STEP: &str = "go cache";
/// Name of the steps that make the layer.
const STEP: &str = "go std";
/// Increased when the layers are made in another way.
const FORMAT: u32 = 2;
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
/// Moves the large files of the layer's cache into a folder of their own, and leaves links.
const SPLIT: &str = r#"set -e
cd -- "$0"
mkdir large
find ?? -name '*-d' -size +63k | while read -r file; do
    mv -- "$file" large
    ln -s -- "$0/large/${file#*/}" "$file"
done"#;
/// Copies links and small files, once for each Go and again when links are gone, and removes the links of
/// other Gos. An incomplete copy does no harm: go checks what it reads, and compiles the rest.
const COPY: &str = r#"cd "$0/large" 2>/dev/null || exit 0
for one in *; do break; done
[ ! -e "$GOCACHE/$1" ] || [ ! -e "$GOCACHE/${one%"${one#??}"}/$one" ] || exit 0
mkdir -p "$GOCACHE" && rm -f "$GOCACHE/$1" && find "$GOCACHE" -xtype l -delete &&
cp -R --remove-destination "$0"/?? "$GOCACHE" && : >"$GOCACHE/$1" || find "$GOCACHE" -type l -delete
exit 0"#;

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
        steps: vec![
            BuildStep::new(STEP, &run, true),
            BuildStep::new(STEP, &["/bin/sh", "-c", SPLIT, &mount.to_string_lossy()], true),
        ],
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
