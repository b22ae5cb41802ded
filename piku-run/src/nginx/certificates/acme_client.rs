//! The ACME client of the host: acme.sh or certbot.

#![expect(clippy::disallowed_methods, reason = "certificates that acme.sh or certbot writes")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use nix::fcntl::OFlag;
use nix::unistd::pipe2;
use piku_layout::settings::CertificateClient;
use piku_report::user_error::UserError;

use crate::nginx::WebServer;
use crate::nginx::certificates::app_certificates::CertificatePair;
use crate::nginx::certificates::certificate_owner::CertificateOwner;
use crate::nginx::certificates::client_reason;
use crate::process::installed_program::find_program;
use crate::releases::current;

/// Longest wait for the rest of the output of a client that has ended.
const AFTERWARDS: Duration = Duration::from_secs(2);

/// The installed program that speaks ACME, with its path.
pub(in crate::nginx) enum AcmeClient {
    AcmeSh(PathBuf),
    Certbot(PathBuf),
}

impl AcmeClient {
    /// Finds the client that the settings name, or else any installed one.
    pub(in crate::nginx) fn find(web: &WebServer) -> anyhow::Result<Option<Self>> {
        let acme_sh = || {
            let own = std::env::var_os("HOME").map(|home| Path::new(&home).join(".acme.sh/acme.sh"));
            find_program("acme.sh").or_else(|| own.filter(|path| path.is_file())).map(Self::AcmeSh)
        };
        let certbot = || find_program("certbot").map(Self::Certbot);
        let missing =
            |name| UserError::new(format!("host.yaml says 'acme: {name}', but it is not installed"));
        Ok(match web.settings.acme {
            CertificateClient::Off => None,
            CertificateClient::Auto => acme_sh().or_else(certbot),
            CertificateClient::AcmeSh => Some(acme_sh().ok_or_else(|| missing("acme.sh"))?),
            CertificateClient::Certbot => Some(certbot().ok_or_else(|| missing("certbot"))?),
        })
    }

    pub(in crate::nginx) fn name(&self) -> &'static str {
        match self {
            Self::AcmeSh(_) => "acme.sh",
            Self::Certbot(_) => "certbot",
        }
    }

    /// Requests a certificate, and copies it and its key into the pair's directory.
    pub(super) fn fetch_certificate(
        &self,
        web: &WebServer,
        owner: CertificateOwner<'_>,
        pair: &CertificatePair,
    ) -> anyhow::Result<()> {
        let webroot = web.root.acme().join("webroot");
        current::create_dir(&webroot.join(".well-known/acme-challenge"))?;
        let settings = &web.settings;
        let names = || pair.metadata.names.iter().flat_map(|name| ["-d", name]);
        match self {
            Self::AcmeSh(program) => {
                let main = pair.metadata.names.first().context("no name")?;
                let mut issue = Command::new(program);
                issue.args(["--issue", "--keylength", "ec-256"]).args(names()).arg("--webroot").arg(&webroot);
                issue.args(["--server", settings.acme_server.as_deref().unwrap_or("letsencrypt")]);
                if let Some(email) = &settings.acme_email {
                    issue.args(["--accountemail", email]);
                }
                // 2: its certificate is not due for renewal.
                self.run_command(issue, &[0, 2])?;
                let mut install = Command::new(program);
                install
                    .args(["--install-cert", "--ecc", "-d", main, "--fullchain-file"])
                    .arg(pair.certificate());
                install.arg("--key-file").arg(pair.key());
                self.run_command(install, &[0])
            }
            Self::Certbot(program) => {
                let own = web.root.acme().join("certbot");
                let mut certbot = Command::new(program);
                certbot.args([
                    "certonly",
                    "--non-interactive",
                    "--agree-tos",
                    "--keep-until-expiring",
                    "--renew-with-new-domains",
                ]);
                certbot
                    .args(["--cert-name", owner.store_name(), "--webroot", "--webroot-path"])
                    .arg(&webroot)
                    .args(names());
                for (option, folder) in
                    [("--config-dir", "config"), ("--work-dir", "work"), ("--logs-dir", "log")]
                {
                    certbot.arg(option).arg(own.join(folder));
                }
                match &settings.acme_email {
                    Some(email) => certbot.args(["--email", email]),
                    None => certbot.arg("--register-unsafely-without-email"),
                };
                if let Some(server) = &settings.acme_server {
                    certbot.args(["--server", server]);
                }
                self.run_command(certbot, &[0])?;
                let live = own.join("config/live").join(owner.store_name());
                for (from, to) in [("fullchain.pem", pair.certificate()), ("privkey.pem", pair.key())] {
                    let from = live.join(from);
                    fs::copy(&from, &to).with_context(|| format!("cannot copy '{}'", from.display()))?;
                }
                Ok(())
            }
        }
    }

    /// Runs the client with its output on stderr. Fails unless its exit code is one of `good`.
    fn run_command(&self, mut command: Command, good: &[i32]) -> anyhow::Result<()> {
        let (output, input) = pipe2(OFlag::O_CLOEXEC).context("cannot make a pipe")?;
        let second = input.try_clone().context("cannot copy a descriptor")?;
        command.stdin(Stdio::null()).stdout(input).stderr(second);
        let mut child = command.spawn().with_context(|| format!("cannot run {}", self.name()))?;
        // The write ends that it holds would keep the pipe open for ever.
        drop(command);
        let reason = client_reason::forward_output(File::from(output));
        let status = child.wait().with_context(|| format!("cannot wait for {}", self.name()))?;
        // All that it said is printed before this process says more, or ends. A hook of the client may have left a process
        // that holds the pipe.
        let reason = reason.recv_timeout(AFTERWARDS).ok().flatten();
        if status.code().is_some_and(|code| good.contains(&code)) {
            return Ok(());
        }
        let what =
            format!("{} got no certificate: {}", self.name(), reason.unwrap_or_else(|| status.to_string()));
        Err(UserError::new(what)
            .hint("all that it said stands above; try again in an hour, or with --force")
            .into())
    }
}
