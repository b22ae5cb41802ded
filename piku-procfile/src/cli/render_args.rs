//! The arguments of `render` and what they mean.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Args, Subcommand, ValueEnum};
use piku_layout::name::{AppName, BadName, ProcessName};
use piku_layout::settings::ListenAddress;
use piku_report::number_arg::number_arg;

use super::container_args::{ComposeArgs, ContainerArgs, KubernetesArgs, QuadletArgs};
use crate::render::nginx::{
    Http2Syntax, NginxInstance, OperatorPages, RenderSettings, SiteCertificate, SiteClosure, UpstreamAddress,
    VARIABLES_HELP, allowed_directives, check_trusted_proxy,
};
use crate::render::systemd::UnitSettings;

const EXIT_STATUS: &str = "\
Exit status:
  0  printed; there may be warnings
  1  a file is bad or cannot be read, or the program cannot express what it says
  2  the command line is wrong";

/// Returns the variables that `render nginx` reads and the directives that an app may use.
fn nginx_help() -> String {
    let mut text = format!("{VARIABLES_HELP}{NGINX_RULES}");
    let mut line = String::from(" ");
    for name in allowed_directives() {
        if line.len() + name.len() > 92 {
            text.extend([&line, "\n"]);
            line.replace_range(1.., "");
        }
        line.extend([" ", name]);
    }
    text.extend([&line, "\n\n", EXIT_STATUS]);
    text
}

const NGINX_RULES: &str = "
nginx never follows symlinks, and never serves dotfiles, ENV or Procfile.

NGINX_INCLUDE_FILE may use the directives below; any other is an error. 'proxy_pass http://app' stands for the app's
instances, as does the location '@app'; 'if' cannot test files; 'access_log' can only be 'off':
";

const UNITS: &str = "\
Each process type is a template: 'blog.worker@1.service'. A type that listens has the port as its instance name,
'blog.web@5000.service', and in PORT. 'blog.target' starts and stops all. A cron job is a service and a timer.

Exit status:
  0  printed; there may be warnings
  1  a file is bad or cannot be read, or systemd cannot express what it says
  2  the command line is wrong";

const OBJECTS: &str = "\
Apply the stages in turn, each after the one before it has succeeded:

  piku-procfile render kubernetes … --stage config | kubectl apply -f -
  piku-procfile render kubernetes … --stage release | kubectl apply -f -
  kubectl wait --for=condition=complete --timeout=600s job/blog-release-12
  piku-procfile render kubernetes … --stage rollout | kubectl apply -f -

The image's entry point gets the command as its arguments.

Exit status:
  0  printed; there may be warnings
  1  a file is bad or cannot be read, or Kubernetes cannot express what it says
  2  the command line is wrong";

#[derive(Debug, Subcommand)]
pub(crate) enum RenderVerb {
    /// Print the nginx server block of an app, or the nginx.conf of an instance that runs without root
    #[command(after_long_help = nginx_help())]
    Nginx(Box<NginxArgs>),
    /// Print the systemd units of an app's processes and cron jobs
    #[command(after_long_help = UNITS)]
    Systemd(SystemdArgs),
    /// Print an app's cron jobs as a crontab for cron(8)
    #[command(after_long_help = EXIT_STATUS)]
    Crontab(CrontabArgs),
    /// Print the objects of Kubernetes that run an app's image
    #[command(after_long_help = OBJECTS)]
    Kubernetes(Box<KubernetesArgs>),
    /// Print a file of Docker Compose that runs an app's image
    #[command(after_long_help = EXIT_STATUS)]
    Compose(Box<ComposeArgs>),
    /// Print units of Quadlet, by which systemd runs an app's image with podman
    #[command(after_long_help = EXIT_STATUS)]
    Quadlet(Box<QuadletArgs>),
}

/// Options that name the app and its files.
#[derive(Debug, Args)]
pub(super) struct AppArgs {
    /// Name of the app
    #[arg(long, default_value = "app", value_name = "NAME")]
    pub(super) app: AppName,
    /// Procfile, or '-' for stdin
    #[arg(long, default_value = crate::procfile::FILE, value_name = "FILE")]
    procfile: PathBuf,
    /// ENV file; it may be missing
    #[arg(long, default_value = crate::env::FILE, value_name = "FILE")]
    env: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct NginxArgs {
    #[command(flatten)]
    files: AppArgs,
    /// Address of an instance that serves HTTP; repeat for each instance
    #[arg(long = "upstream", value_name = "HOST:PORT")]
    upstreams: Vec<UpstreamAddress>,
    /// Built app tree, /app in the jail
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Data directory of the app, /data in the jail
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Address to listen on for HTTP; repeat for several
    #[arg(long, default_value = "80", value_name = "[ADDRESS:]PORT")]
    listen: Vec<ListenAddress>,
    /// Address to listen on for HTTPS; repeat for several
    #[arg(long, default_value = "443", value_name = "[ADDRESS:]PORT")]
    listen_tls: Vec<ListenAddress>,
    /// Listen on IPv4 only
    #[arg(long)]
    no_ipv6: bool,
    /// Certificate with its chain; without it there is no HTTPS
    #[arg(long, requires = "key", value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// Private key of the certificate
    #[arg(long, requires = "certificate", value_name = "FILE")]
    key: Option<PathBuf>,
    /// Directory in which an ACME client writes .well-known/acme-challenge
    #[arg(long, value_name = "DIR")]
    acme_root: Option<PathBuf>,
    /// Directory for cached responses; the app's own are in a subdirectory with its name
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Path of the password file, which '--print passwords' prints
    #[arg(long, value_name = "FILE")]
    passwords: Option<PathBuf>,
    /// Directory for the app's logs, APP.access.log and APP.error.log
    #[arg(long, value_name = "DIR")]
    logs: Option<PathBuf>,
    /// Address ranges of Cloudflare, one per line, in place of the built-in list
    #[arg(long, value_name = "FILE")]
    cloudflare_ranges: Option<PathBuf>,
    /// Syntax that enables HTTP/2 on HTTPS
    #[arg(long, value_enum, default_value_t)]
    http2: Http2Syntax,
    /// Respond to every request with 503 and a maintenance page
    #[arg(long)]
    maintenance: bool,
    /// Maximum number of concurrent requests; further ones get 503
    #[arg(long, default_value_t = 1024, value_name = "N", value_parser = number_arg("a number from 1", 1..=u32::MAX))]
    connections: u32,
    /// Proxy in front whose X-Forwarded-* headers are passed on: an address, a range or 'private'; repeat for
    /// several
    #[arg(long = "trusted-proxy", value_name = "RANGE", value_parser = parse_trusted_proxy)]
    trusted_proxies: Vec<String>,
    /// Leave out what '--print shared' prints, which nginx then has to read once for all apps
    #[arg(long)]
    shared: bool,
    /// File to print
    #[arg(long, value_enum, default_value_t)]
    print: PrintedFile,
    /// Print the nginx.conf of an instance that uses only DIR and includes DIR/apps/*.conf
    #[arg(
        long,
        value_name = "DIR",
        conflicts_with_all = [
            "app", "procfile", "env", "upstreams", "root", "data", "certificate", "acme_root", "cache", "passwords",
            "logs", "cloudflare_ranges", "http2", "maintenance", "connections", "trusted_proxies", "shared", "print",
        ]
    )]
    main: Option<PathBuf>,
    /// Time for old worker processes to finish their requests after a reload
    #[arg(
        long,
        default_value_t = 60,
        value_name = "SECONDS",
        value_parser = number_arg("whole seconds, such as 60", 0..=u32::MAX),
        requires = "main"
    )]
    shutdown_timeout: u32,
    /// Maximum number of connections per worker process
    #[arg(
        long,
        default_value_t = 4096,
        value_name = "N",
        value_parser = number_arg("a number from 16 to 1000000", 16..=1_000_000_u32),
        requires = "main"
    )]
    worker_connections: u32,
}

fn parse_trusted_proxy(text: &str) -> Result<String, String> {
    check_trusted_proxy(text).map(|()| text.to_owned())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum PrintedFile {
    /// The server block
    #[default]
    Server,
    /// The password file
    Passwords,
    /// The settings that apps share, for '--shared'
    Shared,
}

#[derive(Debug, Args)]
pub(crate) struct SystemdArgs {
    #[command(flatten)]
    files: AppArgs,
    /// Working directory of the commands
    #[arg(long, default_value = ".", value_name = "DIR")]
    dir: PathBuf,
    /// User that runs the commands
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Number of instances of each type that the target starts; default 1
    #[arg(short = 'm', long, value_name = "TYPE=N,…", value_delimiter = ',')]
    formation: Vec<TypeCount>,
    /// First port; each further type that listens begins 100 higher
    #[arg(long, default_value_t = 5000, value_name = "PORT", value_parser = number_arg("a port from 1 to 65535", 1..=u16::MAX))]
    port: u16,
    /// Write the units to this directory instead of printing them
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct CrontabArgs {
    #[command(flatten)]
    files: AppArgs,
    /// Working directory of the commands
    #[arg(long, default_value = ".", value_name = "DIR")]
    dir: PathBuf,
}

/// Number of instances of a process type.
#[derive(Debug, Clone)]
pub(super) struct TypeCount(pub(super) ProcessName, pub(super) u16);

impl FromStr for TypeCount {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        let (name, number) = given.split_once('=').ok_or("expected TYPE=N")?;
        let name = name.parse().map_err(|err: BadName| err.to_string())?;
        match number.parse() {
            Ok(number @ 0..=99) => Ok(Self(name, number)),
            _ => Err("N must be a number from 0 to 99".to_owned()),
        }
    }
}

/// Kind of file that `render` prints.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum RenderTarget {
    Nginx {
        files: AppFileArgs,
        settings: Box<RenderSettings>,
        cloudflare: Option<PathBuf>,
        /// Print the password file, not the server block.
        prints_passwords: bool,
    },
    NginxMain(NginxInstance),
    NginxShared,
    Systemd {
        files: AppFileArgs,
        unit: UnitSettings,
        output: Option<PathBuf>,
    },
    Crontab {
        files: AppFileArgs,
        dir: PathBuf,
    },
    Container(Box<ContainerArgs>),
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct AppFileArgs {
    pub(crate) procfile: PathBuf,
    pub(crate) env: PathBuf,
}

impl AppArgs {
    pub(super) fn files(self) -> AppFileArgs {
        AppFileArgs { procfile: self.procfile, env: self.env }
    }
}

/// Makes a path absolute: nginx, systemd and cron start in other directories. Symlinks are kept, so that
/// their targets may change.
fn make_absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

impl From<RenderVerb> for RenderTarget {
    fn from(verb: RenderVerb) -> Self {
        match verb {
            RenderVerb::Nginx(args) => (*args).into(),
            RenderVerb::Systemd(args) => {
                let formation: BTreeMap<_, _> =
                    args.formation.into_iter().map(|TypeCount(name, number)| (name, number)).collect();
                let unit = UnitSettings {
                    app: args.files.app.clone(),
                    dir: make_absolute(&args.dir),
                    user: args.user,
                    formation,
                    port: args.port,
                };
                Self::Systemd { files: args.files.files(), unit, output: args.output }
            }
            RenderVerb::Crontab(args) => {
                Self::Crontab { dir: make_absolute(&args.dir), files: args.files.files() }
            }
            RenderVerb::Kubernetes(args) => Self::Container(Box::new((*args).into())),
            RenderVerb::Compose(args) => Self::Container(Box::new((*args).into())),
            RenderVerb::Quadlet(args) => Self::Container(Box::new((*args).into())),
        }
    }
}

impl From<NginxArgs> for RenderTarget {
    fn from(args: NginxArgs) -> Self {
        if let Some(dir) = args.main {
            return Self::NginxMain(NginxInstance {
                dir: make_absolute(&dir),
                listen: args.listen,
                listen_tls: args.listen_tls,
                ipv6: !args.no_ipv6,
                default_certificate: args
                    .certificate
                    .zip(args.key)
                    .map(|(certificate, key)| (make_absolute(&certificate), make_absolute(&key))),
                certificate_links: None,
                earlier_tls_sockets: Vec::new(),
                connections: args.worker_connections,
                unknown_host_page: None,
                shutdown_timeout: args.shutdown_timeout,
                status: None,
            });
        }
        if matches!(args.print, PrintedFile::Shared) {
            return Self::NginxShared;
        }
        let path = |path: Option<PathBuf>| path.map(|path| make_absolute(&path));
        let settings = RenderSettings {
            app: args.files.app.clone(),
            upstreams: args.upstreams,
            root: path(args.root),
            data: path(args.data),
            listen: args.listen,
            listen_tls: args.listen_tls,
            ipv6: !args.no_ipv6,
            certificate: path(args.certificate)
                .zip(path(args.key))
                .map(|(certificate, key)| SiteCertificate::Files { certificate, key }),
            acme_root: path(args.acme_root),
            cache: path(args.cache),
            passwords: path(args.passwords),
            logs: path(args.logs),
            cloudflare: None,
            http2: args.http2,
            closure: args.maintenance.then_some(SiteClosure::Maintenance),
            pages: OperatorPages::default(),
            connections: Some(args.connections),
            trusted_proxies: args.trusted_proxies,
            front: None,
            machines: None,
            shares_settings: args.shared,
        };
        Self::Nginx {
            files: args.files.files(),
            settings: Box::new(settings),
            cloudflare: args.cloudflare_ranges,
            prints_passwords: matches!(args.print, PrintedFile::Passwords),
        }
    }
}
