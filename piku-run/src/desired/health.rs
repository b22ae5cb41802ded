//! Health check of a release, from `ENV` and the config.

use jiff::tz::TimeZone;
use piku_report::user_error::UserError;

use crate::instance::environment::Vars;

/// Variable that selects the protocol.
const VARIABLE: &str = "HEALTHCHECK";

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
        Self { protocol: HealthProtocol::Http, host: "localhost".to_owned(), path: None, zone: None }
    }
}

impl HealthCheck {
    /// Returns the request for messages: `GET /health`.
    pub(crate) fn question(&self) -> String {
        match self.protocol {
            HealthProtocol::Http => format!("GET {}", self.path.as_deref().unwrap_or("/")),
            HealthProtocol::Tcp => "a connection".to_owned(),
        }
    }
}

/// Returns the host name of the request: the first complete name, otherwise one that matches a `*.`
/// pattern. Many programs reject other names (`ALLOWED_HOSTS`).
pub(crate) fn host_of(names: &[&str]) -> String {
    // '_' stands for names that no app has.
    let mut names = names.iter().filter(|name| **name != "_");
    let first = names.clone().find(|name| !name.contains('*')).or(names.next());
    first.map_or_else(|| "localhost".to_owned(), |name| name.replacen('*', "www", 1))
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

    #[test]
    fn an_instance_is_asked_for_a_name_that_visitors_ask_for() {
        assert_eq!(host_of(&[]), "localhost");
        assert_eq!(host_of(&["blog.example.org", "example.org"]), "blog.example.org");
        assert_eq!(host_of(&["*.example.org", "example.org"]), "example.org");
        assert_eq!(host_of(&["*.example.org"]), "www.example.org");
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
