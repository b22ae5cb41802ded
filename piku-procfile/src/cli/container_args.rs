//! The arguments of `render kubernetes`, `render compose` and `render quadlet`.

use std::path::PathBuf;

use clap::Args;
use piku_report::number_arg::number_arg;

use super::render_args::{AppArgs, AppFileArgs, TypeCount};
use crate::quoting::is_plain;
use crate::render::container::ContainerSettings;
use crate::render::container::compose::ComposeSettings;
use crate::render::container::kubernetes::{CertificateSource, ClusterSettings, ClusterStage};
use crate::render::container::quadlet::QuadletSettings;

/// User id of the processes unless the caller sets another.
const UID: u32 = 1000;

/// Values of the label `kubernetes.io/arch`.
const ARCHITECTURES: [&str; 8] = ["amd64", "arm64", "arm", "386", "loong64", "ppc64le", "riscv64", "s390x"];

/// Engine that runs the containers, with the caller's settings for it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ContainerEngine {
    Kubernetes(Box<ClusterSettings>),
    Compose(ComposeSettings),
    /// With the directories to which the units and the timers are written.
    Quadlet(QuadletSettings, Option<UnitDirs>),
}

/// Directories of the rendered units.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UnitDirs {
    /// Read by Quadlet.
    pub(crate) containers: PathBuf,
    /// Read by systemd itself; needed by cron jobs only.
    pub(crate) timers: Option<PathBuf>,
}

/// App and settings of containers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ContainerArgs {
    pub(crate) files: AppFileArgs,
    /// Config that the operator has stored.
    pub(crate) config: Option<PathBuf>,
    pub(crate) settings: ContainerSettings,
    pub(crate) engine: ContainerEngine,
}

/// Options that name the image and how it runs.
#[derive(Debug, Args)]
struct ImageArgs {
    #[command(flatten)]
    files: AppArgs,
    /// Image of the release, with its tag or digest
    #[arg(long, value_name = "IMAGE", value_parser = parse_image)]
    image: String,
    /// Number of the release
    #[arg(long, value_name = "N")]
    release: Option<u64>,
    /// Stored config, a JSON object of strings as 'piku config APP --format json' prints it; it overrides the ENV file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Number of instances of each type; default 1
    #[arg(short = 'm', long, value_name = "TYPE=N,…", value_delimiter = ',')]
    formation: Vec<TypeCount>,
    /// User id of all processes
    #[arg(long, default_value_t = UID, value_name = "UID", value_parser = number_arg("a user id from 1", 1..=u32::MAX))]
    uid: u32,
    /// Let the app write anywhere in its container, not only in /data and /tmp
    #[arg(long)]
    writable_root: bool,
}

#[derive(Debug, Args)]
pub(crate) struct KubernetesArgs {
    #[command(flatten)]
    image: ImageArgs,
    /// Namespace of all objects
    #[arg(long, value_name = "NAME", value_parser = parse_label)]
    namespace: Option<String>,
    /// Host name of the app, in place of those that the ENV file sets; repeat for several
    #[arg(long = "host", value_name = "NAME", value_parser = parse_host)]
    hosts: Vec<String>,
    /// Class of the ingress, such as 'traefik'
    #[arg(long, value_name = "NAME", value_parser = parse_label)]
    ingress_class: Option<String>,
    /// Cluster issuer of cert-manager that issues the certificate
    #[arg(long, value_name = "NAME", value_parser = parse_label)]
    cluster_issuer: Option<String>,
    /// Certificate resolver of Traefik that requests the certificate
    #[arg(long, value_name = "NAME", value_parser = parse_label, conflicts_with = "cluster_issuer")]
    traefik_resolver: Option<String>,
    /// Size of the volume at /data; without it, files there end with the pod
    #[arg(long, value_name = "SIZE", value_parser = parse_quantity)]
    data_size: Option<String>,
    /// Storage class of the volume
    #[arg(long, value_name = "NAME", value_parser = parse_label, requires = "data_size")]
    storage_class: Option<String>,
    /// Use a volume that pods on several nodes may mount at once
    #[arg(long, requires = "data_size")]
    shared_data: bool,
    /// Architectures of the image; pods run on nodes that have one of them. Default: on all nodes
    #[arg(long = "architecture", value_name = "NAME,…", value_delimiter = ',', value_parser = ARCHITECTURES)]
    architectures: Vec<String>,
    /// Secret with the password of the image's registry
    #[arg(long, value_name = "NAME", value_parser = parse_label)]
    pull_secret: Option<String>,
    /// Step of a deploy whose objects are printed
    #[arg(long, value_enum, default_value_t)]
    stage: ClusterStage,
}

#[derive(Debug, Args)]
pub(crate) struct ComposeArgs {
    #[command(flatten)]
    image: ImageArgs,
    /// Port on loopback of the first instance that gets requests; further ones follow
    #[arg(long, default_value_t = 8080, value_name = "PORT", value_parser = number_arg("a port from 1 to 65535", 1..=u16::MAX))]
    port: u16,
}

#[derive(Debug, Args)]
pub(crate) struct QuadletArgs {
    #[command(flatten)]
    compose: ComposeArgs,
    /// Write the units to this directory instead of printing them: ~/.config/containers/systemd or
    /// /etc/containers/systemd
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Write the timers of cron jobs to this directory: ~/.config/systemd/user or /etc/systemd/system
    #[arg(long, value_name = "DIR", requires = "output")]
    timers: Option<PathBuf>,
}

/// Parses the reference of an image: letters, digits and the marks between a host, a path, a tag and a digest.
fn parse_image(text: &str) -> Result<String, String> {
    if is_plain(text, b"._-/:@") && !text.starts_with(['-', '/', ':', '@']) {
        Ok(text.to_owned())
    } else {
        Err("expected an image such as registry.example.org/blog:12".to_owned())
    }
}

/// Parses the name of an object in a cluster.
fn parse_label(text: &str) -> Result<String, String> {
    let is_inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    let is_good = (1..=253).contains(&text.len())
        && text.bytes().all(is_inner)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric());
    if is_good { Ok(text.to_owned()) } else { Err("expected a name of a-z, 0-9, '-' and '.'".to_owned()) }
}

/// Parses a host name, which may begin with `*.`.
fn parse_host(text: &str) -> Result<String, String> {
    let name = text.to_ascii_lowercase();
    let base = name.strip_prefix("*.").unwrap_or(&name);
    parse_label(base).map_err(|_| "expected a host name such as blog.example.org".to_owned())?;
    Ok(name)
}

/// Parses an amount of storage, such as `512Mi` or `10Gi`.
fn parse_quantity(text: &str) -> Result<String, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let is_number =
        !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse() != Ok(0_u64);
    let is_unit = ["", "k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti"].contains(&&text[digits.len()..]);
    if is_number && is_unit { Ok(text.to_owned()) } else { Err("expected an amount such as 10Gi".to_owned()) }
}

impl ImageArgs {
    fn into_container(self, hosts: Vec<String>, engine: ContainerEngine) -> ContainerArgs {
        let settings = ContainerSettings {
            app: self.files.app.clone(),
            image: self.image,
            release: self.release,
            formation: self.formation.into_iter().map(|TypeCount(name, number)| (name, number)).collect(),
            hosts,
        };
        ContainerArgs { files: self.files.files(), config: self.config, settings, engine }
    }
}

impl From<KubernetesArgs> for ContainerArgs {
    fn from(args: KubernetesArgs) -> Self {
        let certificates = match (args.cluster_issuer, args.traefik_resolver) {
            (Some(issuer), _) => CertificateSource::CertManager(issuer),
            (None, Some(resolver)) => CertificateSource::Traefik(resolver),
            (None, None) => CertificateSource::None,
        };
        let cluster = ClusterSettings {
            namespace: args.namespace,
            data_size: args.data_size,
            storage_class: args.storage_class,
            shares_data: args.shared_data,
            ingress_class: args.ingress_class,
            certificates,
            architectures: args.architectures,
            pull_secret: args.pull_secret,
            uid: args.image.uid,
            has_writable_root: args.image.writable_root,
            stage: args.stage,
        };
        args.image.into_container(args.hosts, ContainerEngine::Kubernetes(Box::new(cluster)))
    }
}

impl From<ComposeArgs> for ContainerArgs {
    fn from(args: ComposeArgs) -> Self {
        let settings = ComposeSettings {
            port: args.port,
            uid: args.image.uid,
            has_writable_root: args.image.writable_root,
        };
        args.image.into_container(Vec::new(), ContainerEngine::Compose(settings))
    }
}

impl From<QuadletArgs> for ContainerArgs {
    fn from(args: QuadletArgs) -> Self {
        let dirs = args.output.map(|containers| UnitDirs { containers, timers: args.timers });
        let args = args.compose;
        let settings = QuadletSettings {
            port: args.port,
            uid: args.image.uid,
            has_writable_root: args.image.writable_root,
        };
        args.image.into_container(Vec::new(), ContainerEngine::Quadlet(settings, dirs))
    }
}
