//! What was typed after `render`, and what it means.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Args, Subcommand, ValueEnum};
use piku_layout::name::{AppName, ProcessName};
use piku_layout::settings::ListenAddress;

use super::nginx::include;
use super::nginx::{Http2Syntax, UpstreamAddress};

/// The variables that `render nginx` knows, and the directives that it takes.
fn nginx_help() -> String {
    use std::fmt::Write;

    let mut text = String::from(NGINX_VARIABLES);
    let mut line = String::new();
    for name in include::taken() {
        if line.len() + name.len() > 90 {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {}", line.trim_end());
            line.clear();
        }
        line.push_str(name);
        line.push(' ');
    }
    let _ = write!(text, "  {}", line.trim_end());
    text
}

const NGINX_VARIABLES: &str = "\
Variables of ENV, named as the Python piku names them:
  NGINX_SERVER_NAME        host names, with commas or blanks between them; '*.' in front is for all below
  NGINX_HTTPS_ONLY         redirect HTTP to HTTPS
  NGINX_STATIC_PATHS       PREFIX:FOLDER,…: files served from the app's folder, or from /data
  NGINX_CATCH_ALL          the file that answers where there is none, such as 'index.html'
  NGINX_CACHE_PREFIXES     PREFIX,…: answers of the app that are cached, unless it says otherwise itself
  NGINX_CACHE_SIZE         in GB, 1; NGINX_CACHE_TIME, _REDIRECTS, _ANY, _CONTROL (3600) and _EXPIRY (86400) in seconds
  NGINX_BASIC_AUTH         NAME:PASSWORD, blanks between several; a password may be a hash of 'openssl passwd -6'
  NGINX_CLOUDFLARE_ACL     only Cloudflare and this machine itself get an answer
  NGINX_ALLOW_GIT_FOLDERS  addresses with '.git' reach the app's process; from a folder it is never served
  NGINX_IPV4_ADDRESS, NGINX_IPV6_ADDRESS   one of the addresses given with --listen
  DISABLE_IPV6             listen on IPv4 only
  NGINX_INCLUDE_FILE       lines of the app's own, for the inside of its server

Files are served without following a link, and never what begins with a dot, nor ENV and Procfile.

Of NGINX_INCLUDE_FILE these directives are taken, others are refused by name; 'proxy_pass http://app' means all
instances, as the location '@app' does; 'if' asks for no file; 'access_log' may be off:
";

const UNITS: &str = "\
Each type of worker is one template: 'blog.worker@1.service'. One that listens has its port for an instance,
'blog.web@5000.service', which it finds in PORT. 'blog.target' starts and stops all; a cron is a service and a timer.";

#[derive(Debug, Subcommand)]
pub(crate) enum RenderVerb {
    /// Prints an app's file for nginx, or the nginx.conf of an instance that needs no root
    #[command(after_long_help = nginx_help())]
    Nginx(NginxArgs),
    /// Prints the units of an app's workers and crons for systemd
    #[command(after_long_help = UNITS)]
    Systemd(SystemdArgs),
    /// Prints an app's crons as a crontab for cron(8)
    Crontab(CrontabArgs),
}

/// The files of the app.
#[derive(Debug, Args)]
struct AppArgs {
    /// The app's name
    #[arg(long, default_value = "app", value_name = "NAME")]
    app: AppName,
    /// The Procfile; '-' is stdin
    #[arg(long, default_value = crate::procfile::FILE, value_name = "FILE")]
    procfile: PathBuf,
    /// The ENV file; an app needs none
    #[arg(long, default_value = crate::env::FILE, value_name = "FILE")]
    env: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct NginxArgs {
    #[command(flatten)]
    files: AppArgs,
    /// An instance of the app that answers HTTP; one for each
    #[arg(long = "upstream", value_name = "HOST:PORT")]
    upstreams: Vec<UpstreamAddress>,
    /// The built tree, which is /app to the app
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// The app's own files, which are /data to the app
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where to listen for HTTP; may be given again
    #[arg(long, default_value = "80", value_name = "[ADDRESS:]PORT")]
    listen: Vec<ListenAddress>,
    /// Where to listen for HTTPS; may be given again
    #[arg(long, default_value = "443", value_name = "[ADDRESS:]PORT")]
    listen_tls: Vec<ListenAddress>,
    /// Listen on IPv4 only
    #[arg(long)]
    no_ipv6: bool,
    /// The certificate with its chain; without one there is no HTTPS
    #[arg(long, requires = "key", value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// The key of the certificate
    #[arg(long, requires = "certificate", value_name = "FILE")]
    key: Option<PathBuf>,
    /// The folder with an ACME client's answers, in .well-known/acme-challenge
    #[arg(long, value_name = "DIR")]
    acme_root: Option<PathBuf>,
    /// The folder for cached answers; this app's are in NAME below it
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Where the file with names and passwords is going to be
    #[arg(long, value_name = "FILE")]
    passwords: Option<PathBuf>,
    /// Who is Cloudflare, a range of addresses a line, instead of those known
    #[arg(long, value_name = "FILE")]
    cloudflare_ranges: Option<PathBuf>,
    /// How to speak HTTP/2 with those who come by HTTPS
    #[arg(long, value_enum, default_value_t)]
    http2: Http2Syntax,
    /// Answer everything with 503 and a page that says why
    #[arg(long)]
    maintenance: bool,
    /// How many requests to the app may be under way at once; others are answered with 503
    #[arg(long, default_value_t = 512, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// What to print
    #[arg(long, value_enum, default_value_t)]
    print: PrintedFile,
    /// Print the nginx.conf of an instance that keeps to DIR and includes DIR/apps/*.conf instead
    #[arg(
        long,
        value_name = "DIR",
        conflicts_with_all = [
            "app", "procfile", "env", "upstreams", "root", "data", "certificate", "acme_root", "cache", "passwords",
            "cloudflare_ranges", "http2", "maintenance", "connections", "print",
        ]
    )]
    main: Option<PathBuf>,
    /// After a reload, how long the old processes may finish what they have begun
    #[arg(long, default_value_t = 60, value_name = "SECONDS", requires = "main")]
    shutdown_timeout: u32,
    /// How many connections each worker process may have
    #[arg(
        long,
        default_value_t = 4096,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(16..=1_000_000),
        requires = "main"
    )]
    worker_connections: u32,
}

/// Which of an app's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum PrintedFile {
    /// The file for nginx
    #[default]
    Server,
    /// The file that --passwords names
    Passwords,
}

#[derive(Debug, Args)]
pub(crate) struct SystemdArgs {
    #[command(flatten)]
    files: AppArgs,
    /// The folder in which commands run
    #[arg(long, default_value = ".", value_name = "DIR")]
    dir: PathBuf,
    /// The user who runs them
    #[arg(long)]
    user: Option<String>,
    /// How many of each type the target starts; one where it says nothing
    #[arg(short = 'm', long, value_name = "TYPE=N,…", value_delimiter = ',')]
    formation: Vec<TypeCount>,
    /// The first port; each further type that listens begins 100 above
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// Write the units into this folder instead of printing them
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct CrontabArgs {
    #[command(flatten)]
    files: AppArgs,
    /// The folder in which commands run
    #[arg(long, default_value = ".", value_name = "DIR")]
    dir: PathBuf,
}

/// `TYPE=N`.
#[derive(Debug, Clone)]
struct TypeCount(ProcessName, u16);

impl FromStr for TypeCount {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        let (name, number) = given.split_once('=').ok_or("it is not TYPE=N")?;
        let name = name.parse().map_err(|err: piku_layout::name::BadName| err.to_string())?;
        match number.parse() {
            Ok(number @ 0..=99) => Ok(Self(name, number)),
            _ => Err("N is a number from 0 to 99".to_owned()),
        }
    }
}

/// What is to be printed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum RenderTarget {
    Nginx {
        files: AppFileArgs,
        settings: Box<super::nginx::RenderSettings>,
        cloudflare: Option<PathBuf>,
        print: PrintedFile,
    },
    NginxMain(super::nginx::NginxInstance),
    Systemd {
        files: AppFileArgs,
        unit: super::systemd::UnitSettings,
        output: Option<PathBuf>,
    },
    Crontab {
        files: AppFileArgs,
        dir: PathBuf,
    },
}

/// Where the app's own words are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct AppFileArgs {
    pub(crate) procfile: PathBuf,
    pub(crate) env: PathBuf,
}

impl AppArgs {
    fn files(self) -> AppFileArgs {
        AppFileArgs { procfile: self.procfile, env: self.env }
    }
}

/// From here and not from where nginx, systemd or cron start; a link stays one, so that what it leads to may change.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

impl From<RenderVerb> for RenderTarget {
    fn from(verb: RenderVerb) -> Self {
        match verb {
            RenderVerb::Nginx(args) => args.into(),
            RenderVerb::Systemd(args) => {
                let formation: BTreeMap<_, _> =
                    args.formation.into_iter().map(|TypeCount(name, number)| (name, number)).collect();
                let unit = super::systemd::UnitSettings {
                    app: args.files.app.clone(),
                    dir: absolute(&args.dir),
                    user: args.user,
                    formation,
                    port: args.port,
                };
                Self::Systemd { files: args.files.files(), unit, output: args.output }
            }
            RenderVerb::Crontab(args) => {
                Self::Crontab { dir: absolute(&args.dir), files: args.files.files() }
            }
        }
    }
}

impl From<NginxArgs> for RenderTarget {
    fn from(args: NginxArgs) -> Self {
        if let Some(dir) = args.main {
            return Self::NginxMain(super::nginx::NginxInstance {
                dir: absolute(&dir),
                listen: args.listen,
                listen_tls: args.listen_tls,
                ipv6: !args.no_ipv6,
                stranger_certificate: args
                    .certificate
                    .zip(args.key)
                    .map(|(one, key)| (absolute(&one), absolute(&key))),
                connections: args.worker_connections,
                shutdown_timeout: args.shutdown_timeout,
            });
        }
        let path = |path: Option<PathBuf>| path.map(|path| absolute(&path));
        let settings = super::nginx::RenderSettings {
            app: args.files.app.clone(),
            upstreams: args.upstreams,
            root: path(args.root),
            data: path(args.data),
            listen: args.listen,
            listen_tls: args.listen_tls,
            ipv6: !args.no_ipv6,
            certificate: path(args.certificate).zip(path(args.key)),
            acme_root: path(args.acme_root),
            cache: path(args.cache),
            passwords: path(args.passwords),
            cloudflare: None,
            http2: args.http2,
            maintenance: args.maintenance,
            connections: Some(args.connections),
        };
        Self::Nginx {
            files: args.files.files(),
            settings: Box::new(settings),
            cloudflare: args.cloudflare_ranges,
            print: args.print,
        }
    }
}
