//! Health check of a release, from `ENV` and the config.

use jiff::tz::TimeZone;
use piku_procfile::render::app_values::split_items;
use piku_procfile::render::nginx::SERVER_NAME;
use piku_report::user_error::UserError;

use crate::instance::environment::Vars;

/// Variable that selects the protocol.
const VARIABLE: &str = "HEALTHCHECK";
/// Variable that sets the host name of the request.
const HOST: &str = "HEALTHCHECK_HOST";
/// Host name of the request if the app has no name.
pub(crate) const DEFAULT_HOST: &str = "localhost";

/// Protocol of the health check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum HealthProtocol {
    /// An HTTP request that must get an accepted status.
    #[default]
    Http,
    /// A connection that must be accepted, for apps without HTTP.
    Tcp,
}

/// Health check of the instances of a release.
#[derive(Debug, Clone)]
pub(crate) struct HealthCheck {
    pub(crate) protocol: HealthProtocol,
    pub(crate) host: String,
    pub(crate) path: Option<String>,
    /// Time zone set by the app.
    pub(crate) zone: Option<TimeZone>,
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self { protocol: HealthProtocol::Http, host: DEFAULT_HOST.to_owned(), path: None, zone: None }
    }
}

impl HealthCheck {
    /// Returns the request for messages: `GET /health (Host: blog.example.org)`.
    pub(crate) fn question(&self) -> String {
        match self.protocol {
            HealthProtocol::Http => {
                format!("GET {} (Host: {})", self.path.as_deref().unwrap_or("/"), self.host)
            }
            HealthProtocol::Tcp => "a connection".to_owned(),
        }
    }

    /// Returns the accepted responses for messages.
    pub(crate) fn expected(&self) -> &'static str {
        if self.path.is_some() { "2xx or 3xx" } else { "a status below 500" }
    }
}

/// Returns the host name of the request: `HEALTHCHECK_HOST`, otherwise the first name in `NGINX_SERVER_NAME`
/// that is complete, otherwise a name below the first `*.` pattern. Many programs reject other names
/// (`ALLOWED_HOSTS`).
///
/// # Errors
/// Fails if `HEALTHCHECK_HOST` is not a host name.
pub(crate) fn host_of(vars: &Vars) -> anyhow::Result<String> {
    if let Some(given) = vars.get(HOST).map(|host| host.trim()).filter(|host| !host.is_empty()) {
        return match browser_host(given) {
            Some(host) if !given.contains('*') => Ok(host),
            _ => {
                let shown: String = given.chars().filter(|c| !c.is_control()).take(60).collect();
                let what = format!("{HOST}: '{shown}' is not a host name that a browser can ask for");
                Err(UserError::new(what)
                    .hint(format!("write a name such as {HOST}=blog.example.org, with or without a port"))
                    .into())
            }
        };
    }
    let names: Vec<&str> = vars.get(SERVER_NAME).map_or_else(Vec::new, |names| split_items(names).collect());
    let whole = names.iter().filter(|name| !name.contains('*')).find_map(|name| browser_host(name));
    let host = whole.or_else(|| names.iter().find_map(|name| browser_host(name)));
    Ok(host.unwrap_or_else(|| DEFAULT_HOST.to_owned()))
}

/// Returns the name that a browser sends for a name of nginx: `www` instead of `*`. `None` for what names no
/// host, such as `_` or a regular expression, and for names that are not in their DNS form.
fn browser_host(name: &str) -> Option<String> {
    let name = name.to_ascii_lowercase();
    let below = name.strip_prefix("*.").or_else(|| name.strip_prefix('.'));
    let name = below.map_or_else(|| name.clone(), |base| format!("www.{base}"));
    let (host, port) = name.split_once(':').map_or((name.as_str(), None), |(host, port)| (host, Some(port)));
    let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    let is_label = |label: &str| {
        let is_inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        (1..=63).contains(&label.len())
            && label.bytes().all(is_inner)
            && label.bytes().any(|b| b.is_ascii_alphanumeric())
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    (is_port && host.len() <= 253 && host.split('.').all(is_label)).then_some(name)
}

/// Reads `HEALTHCHECK`.
///
/// # Errors
/// Fails if the value is neither `http` nor `tcp`.
pub(crate) fn protocol_of(vars: &Vars) -> anyhow::Result<HealthProtocol> {
    match vars.get(VARIABLE).map(|value| value.trim()) {
        None | Some("" | "http") => Ok(HealthProtocol::Http),
        Some("tcp") => Ok(HealthProtocol::Tcp),
        Some(other) => {
            let shown: String = other.chars().take(40).collect();
            Err(UserError::new(format!("{VARIABLE}: '{shown}' is not a protocol of health checks"))
                .hint(format!(
                    "{VARIABLE}=tcp is for apps that speak no HTTP; without it an app must answer HTTP"
                ))
                .into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(pairs: &[(&str, &str)]) -> anyhow::Result<String> {
        host_of(&pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn an_instance_is_asked_for_a_name_that_visitors_ask_for() {
        for (names, asked) in [
            ("", "localhost"),
            ("blog.example.org example.org", "blog.example.org"),
            ("blog.example.org,example.org", "blog.example.org"),
            ("*.example.org, example.org", "example.org"),
            ("*.example.org", "www.example.org"),
            (".example.org", "www.example.org"),
            ("Blog.Example.ORG", "blog.example.org"),
            ("_", "localhost"),
            ("_ example.org", "example.org"),
            ("~^www\\d+\\.example\\.org$", "localhost"),
            ("~^(?<name>.+)$ *.example.org", "www.example.org"),
            ("www.example.*", "localhost"),
            ("xn--mnchen-3ya.de", "xn--mnchen-3ya.de"),
            ("raspberrypi", "raspberrypi"),
            ("192.168.1.5", "192.168.1.5"),
        ] {
            assert_eq!(host(&[(SERVER_NAME, names)]).unwrap(), asked, "{names:?}");
        }
    }

    #[test]
    fn the_app_may_set_the_name() {
        let names = (SERVER_NAME, "*.example.org");
        for (given, asked) in [
            ("shop.example.org", "shop.example.org"),
            (" Shop.example.org ", "shop.example.org"),
            ("localhost:3000", "localhost:3000"),
            ("", "www.example.org"),
        ] {
            assert_eq!(host(&[names, (HOST, given)]).unwrap(), asked, "{given:?}");
        }
        for bad in [
            "*.example.org",
            "_",
            "a b",
            "http://a.org",
            "a.org/x",
            "a\r\nX: y",
            "a:0",
            "a:b",
            "a..b",
            "münchen.de",
        ] {
            let told = host(&[names, (HOST, bad)]).unwrap_err().to_string();
            assert!(told.starts_with("HEALTHCHECK_HOST: '"), "{told}");
        }
    }

    #[test]
    fn the_protocol_is_http_unless_the_app_says_tcp() {
        let read = |value: &str| protocol_of(&Vars::from([(VARIABLE.to_owned(), value.to_owned())]));
        assert_eq!(protocol_of(&Vars::new()).unwrap(), HealthProtocol::Http);
        assert_eq!(read("http").unwrap(), HealthProtocol::Http);
        assert_eq!(read(" tcp ").unwrap(), HealthProtocol::Tcp);
        for bad in ["TCP", "none", "off", "/health", "tcp,http"] {
            let told = read(bad).unwrap_err().to_string();
            assert!(told.contains(&format!("HEALTHCHECK: '{bad}' is not a protocol")), "{told}");
        }
    }
}
