//! `nginx -t` on a copy of the whole configuration, before anything goes in. The copy keeps to a folder of its own, and
//! listens on no port below 1024: a test binds the ports, and whoever tests need not have nginx's rights.

#![expect(clippy::disallowed_methods, reason = "a new folder for the trial, which only piku writes")]

use std::fmt::Write;
use std::net::SocketAddr;

use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_layout::settings::ListenAddress;
use piku_report::user_error::UserError;

use super::WebServer;
use super::program::NginxProgram;

/// What is added to a port below 1024.
const ABOVE: u16 = 10_000;

/// Whether nginx takes what is in now, with what `host.yaml` says.
pub(crate) fn check(root: &PikuRoot) -> anyhow::Result<()> {
    let web = WebServer::of(root)?;
    let nginx = NginxProgram::needed()?;
    web.folder.make()?;
    // Nobody puts anything in meanwhile.
    let _lock = web.folder.lock()?;
    let Err(said) = web.test_files(&nginx, &web.folder.apps()?)? else { return Ok(()) };
    Err(UserError::new(format!("nginx does not take its configuration: {said}"))
        .hint("push or restart the app that it names; until then piku-run nginx leaves it out when it starts")
        .into())
}

impl WebServer {
    /// Tests this file of an app's among those of all the others.
    pub(super) fn test(&self, nginx: &NginxProgram, app: &AppName, text: &str) -> anyhow::Result<()> {
        let mut all = self.folder.apps()?;
        all.retain(|(other, _)| other != app);
        all.push((app.clone(), text.to_owned()));
        let Err(said) = self.test_files(nginx, &all)? else { return Ok(()) };
        let alone = [(app.clone(), text.to_owned())];
        let failure = match self.test_files(nginx, &alone)? {
            Err(said) => UserError::new(format!("nginx does not take the app's settings: {said}"))
                .hint("what it names comes from NGINX_INCLUDE_FILE, or from another NGINX_ variable"),
            Ok(()) => UserError::new(format!(
                "nginx does not take the app's settings beside those of the other apps: {said}"
            ))
            .hint("push or restart the app that it names"),
        };
        Err(failure.into())
    }

    /// Tests these files and no others; what nginx says against them.
    pub(super) fn test_files(
        &self,
        nginx: &NginxProgram,
        apps: &[(AppName, String)],
    ) -> anyhow::Result<Result<(), String>> {
        let dir = self.folder.trial()?;
        let mut instance = self.instance(nginx)?;
        dir.path().clone_into(&mut instance.dir);
        for listen in instance.listen.iter_mut().chain(&mut instance.listen_tls) {
            *listen = ListenAddress { port: above(listen.port), ..*listen };
        }
        let main = dir.path().join("nginx.conf");
        std::fs::write(&main, instance.file()?)?;
        for (app, text) in apps {
            std::fs::write(dir.path().join(format!("apps/{app}.conf")), with_high_ports(text))?;
        }
        let said = nginx.test(&main)?;
        Ok(said.map_err(|said| told(&said, &dir.path().display().to_string())))
    }
}

fn above(port: u16) -> u16 {
    if port < 1024 { port + ABOVE } else { port }
}

/// The same file, listening on ports that anybody may have. Each `listen` of a rendered file is a line of its own, and no
/// app's words can hold one.
fn with_high_ports(text: &str) -> String {
    let mut high = String::with_capacity(text.len() + 64);
    for line in text.lines() {
        // Writing to a string cannot fail.
        let _ = match line.strip_prefix("    listen ").and_then(|rest| rest.split_once([' ', ';'])) {
            Some((socket, _)) => {
                writeln!(
                    high,
                    "    listen {}{}",
                    high_socket(socket),
                    &line["    listen ".len() + socket.len()..]
                )
            }
            None => writeln!(high, "{line}"),
        };
    }
    high
}

fn high_socket(socket: &str) -> String {
    if let Ok(port) = socket.parse::<u16>() {
        return above(port).to_string();
    }
    match socket.parse::<SocketAddr>() {
        Ok(mut socket) => {
            socket.set_port(above(socket.port()));
            socket.to_string()
        }
        Err(_) => socket.to_owned(),
    }
}

/// What nginx says, a line each, without where the copy was.
fn told(said: &str, dir: &str) -> String {
    // An nginx that cannot be told where its first log is (before 1.19.5) says that it cannot open its own.
    const NOISE: [&str; 2] = ["test failed", "could not open error log file"];
    let is_noise = |line: &str| line.trim().is_empty() || NOISE.iter().any(|noise| line.contains(noise));
    let lines = said.lines().filter(|line| !is_noise(line));
    let lines: Vec<String> = lines
        .map(|line| {
            let line = line.strip_prefix("nginx: ").unwrap_or(line);
            line.replace(&format!("{dir}/"), "").trim_start_matches("[emerg] ").to_owned()
        })
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_old_nginx_says_of_its_own_log_is_left_out() {
        let said = "nginx: [alert] could not open error log file: open() \"/var/log/nginx/error.log\" failed (13: Permission denied)\n\
                    2026/11/28 09:00:00 [emerg] 7#7: unknown directive \"x\" in /t/apps/a.conf:1\n\
                    nginx: configuration file /t/nginx.conf test failed\n";
        assert_eq!(
            told(said, "/t"),
            "2026/11/28 09:00:00 [emerg] 7#7: unknown directive \"x\" in apps/a.conf:1"
        );
    }

    #[test]
    fn only_ports_below_1024_are_others_in_a_trial() {
        let text = "server {\n    listen 80;\n    listen [::]:443 ssl http2;\n    listen 127.0.0.1:81;\n    listen 8080;\n    \
                    server_name listen;\n    add_header X \"    listen 80;\";\n}\n";
        let high = "server {\n    listen 10080;\n    listen [::]:10443 ssl http2;\n    listen 127.0.0.1:10081;\n    listen 8080;\n    \
                    server_name listen;\n    add_header X \"    listen 80;\";\n}\n";
        assert_eq!(with_high_ports(text), high);
    }

    #[test]
    fn what_nginx_says_names_no_copy() {
        let said = "nginx: [emerg] invalid value \"x\" in /r/.trial.a/apps/blog.conf:3\n\
                    nginx: configuration file /r/.trial.a/nginx.conf test failed";
        assert_eq!(told(said, "/r/.trial.a"), "invalid value \"x\" in apps/blog.conf:3");
    }
}
