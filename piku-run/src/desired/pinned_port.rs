//! `PORT` in `ENV` or the config: the port that the only web instance of an app always gets.

use piku_layout::paths::PikuRoot;
use piku_layout::settings::HostSettings;
use piku_report::user_error::UserError;

use crate::core::RunPlan;
use crate::instance::environment::ReleaseContext;
use crate::instance::port_holder::{find_holder, port_taken};
use crate::instance::record::RecordFolder;

/// Ports below need a privilege that apps do not have.
const FIRST: u16 = 1024;

/// Returns the port that the app sets; `None` if piku chooses one.
///
/// # Errors
/// Fails if the value is not a port that an app can have, or if its settings cannot be read.
pub(crate) fn of(world: &ReleaseContext) -> anyhow::Result<Option<u16>> {
    if let Some(port) = world.service_port() {
        return Ok(Some(port));
    }
    match world.port_setting()? {
        Some(value) => Ok(Some(parse_port(&value)?)),
        None => Ok(None),
    }
}

/// Checks that the port set by the app can be its only instance's.
///
/// # Errors
/// Fails if it is not such a port, or if several instances would get it.
pub(crate) fn check(world: &ReleaseContext, plan: &RunPlan, settings: &HostSettings) -> anyhow::Result<()> {
    let Some(port) = of(world)? else { return Ok(()) };
    if world.service_port().is_none() {
        check_range(port, settings)?;
    }
    let listening: Vec<&_> = plan.types.iter().filter(|kind| kind.must_listen && kind.count > 0).collect();
    if listening.iter().map(|kind| kind.count).sum::<u32>() > 1 {
        let counts: Vec<String> =
            listening.iter().map(|kind| format!("{}={}", kind.name, kind.count)).collect();
        let what = format!("PORT={port} is one port, and {} is more than one instance", counts.join(" "));
        let scale = format!("piku ps:scale {} {}=1", plan.app, listening[0].name);
        return Err(UserError::new(what)
            .hint(format!("{scale}; or remove PORT, then each instance gets a port of its own"))
            .into());
    }
    Ok(())
}

fn parse_port(value: &str) -> anyhow::Result<u16> {
    match value.trim().parse::<u16>() {
        Ok(port @ FIRST..) => Ok(port),
        Ok(port @ 1..) => {
            let what = format!("PORT={port}: an app may not listen on a port below {FIRST}");
            let hint =
                "leave PORT out: nginx answers on 80 and 443, and passes requests to the app's own port";
            Err(UserError::new(what).hint(hint).into())
        }
        _ => {
            let shown: String = value.chars().filter(|c| !c.is_control()).take(40).collect();
            let hint = "leave PORT out, and each instance gets a port; or write one, such as PORT=8080";
            Err(UserError::new(format!("PORT: '{shown}' is not a port")).hint(hint).into())
        }
    }
}

/// Checks before a build that the app's port is its own or free.
///
/// # Errors
/// Names the app or the process that has it.
pub(crate) fn check_free(root: &PikuRoot, world: &ReleaseContext, plan: &RunPlan) -> anyhow::Result<()> {
    let Some(port) = plan.types.iter().find_map(|kind| kind.pinned.filter(|_| kind.count > 0)) else {
        return Ok(());
    };
    let records = RecordFolder::for_app(&world.dir).read_all().unwrap_or_default();
    if records.iter().any(|record| record.port == Some(port)) {
        return Ok(());
    }
    // A supervisor reserves the port of an app that was just stopped; the deploy knows whose it is.
    find_holder(root, port).map_or(Ok(()), |by| Err(port_taken(port, &by).into()))
}

fn check_range(port: u16, settings: &HostSettings) -> anyhow::Result<()> {
    super::check_not_of_nginx("PORT", port, settings)?;
    settings.reserved_ports().check(port, &format!("PORT={port}"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_port_that_an_app_can_have_is_taken() {
        for (value, port) in [("8080", 8080), (" 1024 ", 1024), ("65535", 65535)] {
            assert_eq!(parse_port(value).unwrap(), port);
        }
        for (bad, word) in [
            ("80", "PORT=80: an app may not listen on a port below 1024"),
            ("1023", "below 1024"),
            ("0", "PORT: '0' is not a port"),
            ("65536", "is not a port"),
            ("http", "PORT: 'http' is not a port"),
            ("8080,8081", "is not a port"),
            ("-1", "is not a port"),
            ("/tmp/socket", "is not a port"),
        ] {
            let told = parse_port(bad).unwrap_err().to_string();
            assert!(told.contains(word), "{told}");
        }
        let mut settings = HostSettings::default();
        settings.nginx.http = vec!["8080".parse().unwrap()];
        let told = check_range(8080, &settings).unwrap_err().to_string();
        assert!(told.contains("piku's nginx"), "{told}");
        let settings = HostSettings::default();
        assert!(check_range(8080, &settings).is_ok());
        assert!(check_range(settings.ports.first, &settings).is_err());
        assert!(check_range(settings.ports.last, &settings).is_err());
    }
}
