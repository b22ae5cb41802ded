//! An authority on loopback: Let's Encrypt's own Pebble, which asks for the answers to its challenges where a
//! test has its web server, and a name server that leads every name there.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::ports::free_port;
use crate::world::wait_for;

/// Both, running; ended when dropped.
#[derive(Debug)]
pub struct Authority {
    pebble: Child,
    names: Child,
    dir: PathBuf,
    /// Of Pebble for clients, of Pebble for its keepers, of the name server's keepers.
    ports: [u16; 3],
}

impl Authority {
    /// Starts it with its files in the new folder `dir`. It asks at this port of each address.
    ///
    /// # Panics
    /// Panics if `pebble` or `pebble-challtestsrv` are not on PATH.
    #[must_use]
    pub fn start(dir: &Path, http: u16) -> Self {
        fs::create_dir_all(dir).expect("folder of the authority");
        let [clients, keepers, names_keepers, tls, dns] = [(); 5].map(|()| free_port());
        let mut certificate = Command::new("openssl");
        certificate.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]);
        certificate.args(["-days", "2", "-subj", "/CN=authority", "-addext", "subjectAltName=IP:127.0.0.1"]);
        certificate.arg("-keyout").arg(dir.join("key.pem")).arg("-out").arg(dir.join("certificate.pem"));
        assert!(certificate.output().expect("openssl").status.success(), "a certificate");
        let config = serde_json::json!({"pebble": {
            "listenAddress": format!("127.0.0.1:{clients}"),
            "managementListenAddress": format!("127.0.0.1:{keepers}"),
            "certificate": dir.join("certificate.pem"),
            "privateKey": dir.join("key.pem"),
            "httpPort": http,
            "tlsPort": tls,
            "profiles": {"default": {"description": "for six days", "validityPeriod": 6 * 24 * 3600}},
        }});
        fs::write(dir.join("config.json"), config.to_string()).expect("its configuration");
        let run = |program: &str, args: &[&str]| {
            let log = fs::File::create(dir.join(format!("{program}.log"))).expect("its log");
            let mut command = Command::new(program);
            command.args(args).stdin(Stdio::null()).stdout(log.try_clone().expect("its log")).stderr(log);
            // What it does not do: wait at random, refuse good requests at random.
            command.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_WFE_NONCEREJECT", "0");
            command.spawn().unwrap_or_else(|err| panic!("{program}: {err}"))
        };
        let (dns, keep) = (format!("127.0.0.1:{dns}"), format!("127.0.0.1:{names_keepers}"));
        let off = ["-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", "", "-defaultIPv6", ""];
        let names =
            run("pebble-challtestsrv", &[&["-dnsserver", &dns, "-management", &keep][..], &off].concat());
        let config = dir.join("config.json");
        let config = config.to_str().expect("a path");
        let pebble = run("pebble", &["-config", config, "-dnsserver", &dns]);
        let ports = [clients, keepers, names_keepers];
        let authority = Self { pebble, names, dir: dir.to_owned(), ports };
        wait_for("the authority", || {
            ports.iter().all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok())
        });
        authority
    }

    /// Returns the URL for clients.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}/dir", self.ports[0])
    }

    /// Returns the certificate of the authority's own server.
    #[must_use]
    pub fn own_certificate(&self) -> PathBuf {
        self.dir.join("certificate.pem")
    }

    /// Returns the root certificate of the certificates that it issues.
    ///
    /// # Panics
    /// Panics if it does not answer.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        let path = self.dir.join("root.pem");
        let mut curl = Command::new("curl");
        curl.args(["-sSf", "--insecure", "-o"]).arg(&path);
        curl.arg(format!("https://127.0.0.1:{}/roots/0", self.ports[1]));
        assert!(curl.status().expect("curl").success());
        path
    }

    /// Has all names lead to this address.
    ///
    /// # Panics
    /// Panics if the name server does not answer.
    pub fn lead_to(&self, address: &str) {
        let mut curl = Command::new("curl");
        curl.args(["-sSf", "-d", &format!(r#"{{"ip": "{address}"}}"#)]);
        curl.arg(format!("http://127.0.0.1:{}/set-default-ipv4", self.ports[2]));
        assert!(curl.status().expect("curl").success());
    }

    /// Has it answer nobody for a while, or again.
    ///
    /// # Panics
    /// Panics if it has ended.
    pub fn hold(&self, held: bool) {
        let signal = if held { Signal::SIGSTOP } else { Signal::SIGCONT };
        let pid = Pid::from_raw(i32::try_from(self.pebble.id()).expect("a pid"));
        kill(pid, signal).expect("the authority");
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        for child in [&mut self.pebble, &mut self.names] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
