//! Runs `nginx -t` on a copy of the whole configuration before a change is installed. The copy lives in its
//! own directory and uses no port below 1024, because a test binds the ports and the tester may lack nginx's
//! capabilities.

#![expect(clippy::disallowed_methods, reason = "a new directory for the test, which only piku writes")]

use std::fmt::Write;
use std::net::SocketAddr;

use anyhow::Context;
use piku_files::sha256;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_layout::settings::ListenAddress;
use piku_procfile::render::nginx::{add_missing_variables, render_shared_settings, source_of_line};
use piku_report::user_error::UserError;

use super::WebServer;
use super::nginx_dir::TestSubject;
use super::program::NginxProgram;
use super::site;

/// Offset added to a port below 1024.
const PORT_OFFSET: u16 = 10_000;

/// Checks that nginx accepts the installed files with the current `host.yaml`.
pub(crate) fn check_config(root: &PikuRoot) -> anyhow::Result<()> {
    let web = WebServer::load(root)?;
    web.dir.create()?;
    let _lock = web.dir.lock()?;
    let Err(reason) = web.test_installed()? else { return Ok(()) };
    Err(UserError::new(format!("nginx rejects its configuration: {reason}"))
        .hint("push or restart the app that it names; until then nginx leaves it out when it starts")
        .into())
}

impl WebServer {
    /// Tests an app's new file without those of the other apps, none of which can change its meaning. Does
    /// nothing if the same nginx has passed the same file before, with other ports.
    pub(super) fn test_app(
        &self,
        nginx: &NginxProgram,
        app: &AppName,
        subject: TestSubject,
        text: &str,
    ) -> anyhow::Result<()> {
        let digest = self.test_digest(nginx, text)?;
        if self.dir.read_tested(app, subject).is_some_and(|tested| tested == digest) {
            return Ok(());
        }
        let alone = [(app.clone(), text.to_owned())];
        let shared = render_shared_settings(nginx.build().counts_connections);
        if let Err(reason) = self.test_with(nginx, &alone, &shared)? {
            return Err(UserError::new(format!("nginx rejects the app's settings: {reason}"))
                .hint("the text it names comes from NGINX_INCLUDE_FILE or another NGINX_ variable")
                .into());
        }
        self.dir.write_tested(app, subject, &digest)
    }

    /// Returns the hash of everything that the result of a test depends on, in this boot.
    fn test_digest(&self, nginx: &NginxProgram, text: &str) -> anyhow::Result<String> {
        let main = self.build_instance(nginx)?.render()?;
        let shared = render_shared_settings(nginx.build().counts_connections);
        let (boot, text) = (piku_procfs::boot_id(), without_ports(text));
        let all = [nginx.identity(), &boot, &main, &shared, &text].join("\0");
        let hash = sha256::hash_reader(&mut all.as_bytes()).context("cannot hash the settings")?;
        Ok(sha256::to_hex(&hash))
    }

    /// Tests the installed files of all apps. The inner error is nginx's message.
    pub(super) fn test_installed(&self) -> anyhow::Result<Result<(), String>> {
        self.test_files(&NginxProgram::require(&self.dir)?, &self.dir.read_app_confs()?)
    }

    /// Tests exactly these installed files, which another version of piku may have written. The inner error is nginx's
    /// message.
    pub(super) fn test_files(
        &self,
        nginx: &NginxProgram,
        apps: &[(AppName, String)],
    ) -> anyhow::Result<Result<(), String>> {
        let shared = render_shared_settings(nginx.build().counts_connections);
        let shared = add_missing_variables(shared, apps.iter().map(|(_, text)| text.as_str()));
        self.test_with(nginx, apps, &shared)
    }

    /// Tests these files with these settings of all apps. The inner error is nginx's message.
    fn test_with(
        &self,
        nginx: &NginxProgram,
        apps: &[(AppName, String)],
        shared: &str,
    ) -> anyhow::Result<Result<(), String>> {
        let dir = self.dir.create_test_dir(shared)?;
        let mut instance = self.build_instance(nginx)?;
        dir.path().clone_into(&mut instance.dir);
        let apps_text: Vec<String> = apps.iter().map(|(_, text)| with_high_ports(text)).collect();
        instance.earlier_tls_sockets =
            apps_text.iter().flat_map(|text| site::tls_sockets(text)).map(str::to_owned).collect();
        for listen in instance.listen.iter_mut().chain(&mut instance.listen_tls) {
            *listen = ListenAddress { port: unprivileged_port(listen.port), ..*listen };
        }
        let main = dir.path().join("nginx.conf");
        std::fs::write(&main, instance.render()?)?;
        for ((app, _), text) in apps.iter().zip(&apps_text) {
            std::fs::write(dir.path().join(format!("apps/{app}.conf")), text)?;
        }
        let tested = nginx.test_config(&main)?;
        Ok(tested.map_err(|message| {
            name_app_lines(&clean_message(&message, &dir.path().display().to_string()), apps)
        }))
    }
}

/// Replaces the instances of each upstream by one line that is the same for all ports, and the port of a single
/// instance.
fn without_ports(text: &str) -> String {
    const INSTANCE: &str = "    server PORT;";
    const SINGLE: &str = "            proxy_pass PORT;";
    let has_port = |line: &str, before: &str, after: &str| {
        let port = line.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
        port.is_some_and(|port| port.parse::<u16>().is_ok())
    };
    let same = |line| match line {
        _ if has_port(line, "    server 127.0.0.1:", " max_fails=0;") => INSTANCE,
        _ if has_port(line, "            proxy_pass http://127.0.0.1:", ";") => SINGLE,
        _ => line,
    };
    let mut lines: Vec<&str> = text.lines().map(same).collect();
    lines.dedup_by(|next, line| next == line && *line == INSTANCE);
    lines.join("\n")
}

fn unprivileged_port(port: u16) -> u16 {
    if port < 1024 { port + PORT_OFFSET } else { port }
}

/// Replaces the ports below 1024. In a rendered file each `listen` is on its own line, and no app's text can
/// contain such a line.
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
        return unprivileged_port(port).to_string();
    }
    match socket.parse::<SocketAddr>() {
        Ok(mut socket) => {
            socket.set_port(unprivileged_port(socket.port()));
            socket.to_string()
        }
        Err(_) => socket.to_owned(),
    }
}

/// Strips noise and the path of the test directory from nginx's message.
fn clean_message(message: &str, dir: &str) -> String {
    // nginx before 1.19.5 has no -e, and complains that it cannot open its default log.
    const NOISE: [&str; 2] = ["test failed", "could not open error log file"];
    let is_noise = |line: &str| line.trim().is_empty() || NOISE.iter().any(|noise| line.contains(noise));
    let lines = message.lines().filter(|line| !is_noise(line));
    let lines: Vec<String> = lines
        .map(|line| {
            let line = line.strip_prefix("nginx: ").unwrap_or(line);
            line.replace(&format!("{dir}/"), "").trim_start_matches("[emerg] ").to_owned()
        })
        .collect();
    lines.join("\n")
}

/// Replaces the place of an error in a rendered file by that in the app's own file, if the line is from it.
fn name_app_lines(message: &str, apps: &[(AppName, String)]) -> String {
    let name = |line: &str| {
        let (what, place) = line.rsplit_once(" in apps/")?;
        let (file, number) = place.rsplit_once(':')?;
        let app = file.strip_suffix(".conf")?;
        let (_, text) = apps.iter().find(|(other, _)| other.as_str() == app)?;
        let source = source_of_line(text.lines().nth(number.parse::<usize>().ok()?.checked_sub(1)?)?)?;
        Some(format!("{source}: {what}"))
    };
    let lines: Vec<String> =
        message.lines().map(|line| name(line).unwrap_or_else(|| line.to_owned())).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_line_of_the_apps_file() {
        let text = "server {\n    gzip maybe; # conf/own.inc:7\n    listen 80;\n}\n".to_owned();
        let apps = [("shop".parse().unwrap(), String::new()), ("blog".parse().unwrap(), text)];
        let named = |message: &str| name_app_lines(message, &apps);
        assert_eq!(
            named("invalid value \"maybe\" in apps/blog.conf:2"),
            "conf/own.inc:7: invalid value \"maybe\""
        );
        for other in [
            "bad in apps/blog.conf:3",
            "bad in apps/blog.conf:0",
            "bad in apps/blog.conf:9",
            "bad in apps/x.conf:2",
        ] {
            assert_eq!(named(other), other);
        }
    }

    #[test]
    fn an_old_nginxs_complaint_about_its_log_is_left_out() {
        let message = "nginx: [alert] could not open error log file: open() \"/var/log/nginx/error.log\" \
                       failed (13: Permission denied)\n\
                       2026/11/28 09:00:00 [emerg] 7#7: unknown directive \"x\" in /t/apps/a.conf:1\n\
                       nginx: configuration file /t/nginx.conf test failed\n";
        assert_eq!(
            clean_message(message, "/t"),
            "2026/11/28 09:00:00 [emerg] 7#7: unknown directive \"x\" in apps/a.conf:1"
        );
    }

    #[test]
    fn only_ports_and_the_number_of_instances_do_not_count() {
        let upstream = |lines: &str| format!("upstream a {{\n{lines}    keepalive 16;\n}}\n");
        let [one, two] = [1, 65_535].map(|port| format!("    server 127.0.0.1:{port} max_fails=0;\n"));
        let same = without_ports(&upstream(&one));
        assert_eq!(without_ports(&upstream(&two)), same);
        assert_eq!(without_ports(&upstream(&[&*one, &*two].concat())), same);
        let single =
            |port: u32| format!("limit_except GET {{\n            proxy_pass http://127.0.0.1:{port};\n}}\n");
        assert_eq!(without_ports(&single(1)), without_ports(&single(65_535)));
        assert_ne!(without_ports(&single(1)), without_ports(&single(65_536)));
        for other in
            ["", "    server 127.0.0.1:65536 max_fails=0;\n", "    server 127.0.0.1:1 max_fails=0; x\n"]
        {
            assert_ne!(without_ports(&upstream(other)), same, "{other}");
        }
    }

    #[test]
    fn a_test_replaces_only_ports_below_1024() {
        let text = "server {\n    listen 80;\n    listen [::]:443 ssl http2;\n    listen 127.0.0.1:81;\n    \
                    listen 8080;\n    server_name listen;\n    add_header X \"    listen 80;\";\n}\n";
        let high = "server {\n    listen 10080;\n    listen [::]:10443 ssl http2;\n    listen 127.0.0.1:10081;\n    \
                    listen 8080;\n    server_name listen;\n    add_header X \"    listen 80;\";\n}\n";
        assert_eq!(with_high_ports(text), high);
    }

    #[test]
    fn messages_do_not_name_the_test_directory() {
        let message = "nginx: [emerg] invalid value \"x\" in /r/.trial.a/apps/blog.conf:3\n\
                       nginx: configuration file /r/.trial.a/nginx.conf test failed";
        assert_eq!(clean_message(message, "/r/.trial.a"), "invalid value \"x\" in apps/blog.conf:3");
    }
}
