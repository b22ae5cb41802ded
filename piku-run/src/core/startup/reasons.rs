//! The facts that are known of an instance that is not ready, and their words.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::{SLOW, StartFinding, WORKING};
use crate::core::{AppInstance, ChangeError, InstanceState, ProbeOutcome, RunPlan};

/// Returns what is known of an instance that is not ready.
pub(super) fn find_facts(plan: &RunPlan, one: &AppInstance, now: Duration) -> Vec<StartFinding> {
    let InstanceState::Starting { since, patience, unannounced, last, .. } = &one.state else {
        return Vec::new();
    };
    let age = now.saturating_sub(*since);
    let slow = SLOW.iter().filter(|seconds| age >= Duration::from_secs(**seconds)).count().checked_sub(1);
    let found = match last {
        _ if *unannounced => slow.map(StartFinding::Slow),
        Some(ProbeOutcome::Http(status)) => Some(StartFinding::Status(*status)),
        Some(ProbeOutcome::Closed | ProbeOutcome::NotHttp) => Some(StartFinding::BadAnswer),
        _ if listens_elsewhere(one).is_some() => Some(StartFinding::OtherAddress),
        _ if listens_at_port(one).is_some() && patience.is_some() => slow.map(StartFinding::NoAnswer),
        Some(ProbeOutcome::Silent) => slow.map(StartFinding::NoAnswer),
        Some(ProbeOutcome::Refused) if !undeclared_listeners(plan, one).is_empty() => {
            Some(StartFinding::OtherPort)
        }
        _ => slow.map(StartFinding::Slow),
    };
    found.into_iter().chain(one.watch.respawns().then_some(StartFinding::Respawns)).collect()
}

/// Returns the instance's listener at its own port, on whichever address.
fn listens_at_port(one: &AppInstance) -> Option<SocketAddr> {
    one.watch.listeners().iter().find(|listener| Some(listener.port()) == one.port).copied()
}

/// Returns the instance's listener at its own port if no health check reaches it.
fn listens_elsewhere(one: &AppInstance) -> Option<SocketAddr> {
    let is_reached = |listener: &SocketAddr| {
        let ip = listener.ip().to_canonical();
        ip.is_unspecified() || ip == IpAddr::V4(Ipv4Addr::LOCALHOST)
    };
    let mut own = one.watch.listeners().iter().filter(|listener| Some(listener.port()) == one.port);
    let first = own.clone().next().copied();
    first.filter(|_| !own.any(is_reached))
}

/// Returns the ports on which it listens instead of its own.
fn other_listeners(one: &AppInstance) -> Vec<u16> {
    let ports = one.watch.listeners().iter().map(SocketAddr::port);
    let mut ports: Vec<u16> = ports.filter(|port| Some(*port) != one.port).collect();
    ports.dedup();
    ports
}

/// Returns the ports on which it listens without having declared them.
fn undeclared_listeners(plan: &RunPlan, one: &AppInstance) -> Vec<u16> {
    other_listeners(one).into_iter().filter(|port| !plan.listen_ports.contains(port)).collect()
}

fn join_ports(ports: &[u16]) -> String {
    ports.iter().map(|port| format!(":{port}")).collect::<Vec<_>>().join(", ")
}

/// Formats the time limit with the setting that holds it.
fn limit_of(plan: &RunPlan) -> String {
    format!("{} s (HEALTHCHECK_START_PERIOD)", plan.ready_within.as_secs_f64())
}

/// Describes a fact in one line of a push.
pub(super) fn describe_finding(
    finding: StartFinding,
    plan: &RunPlan,
    one: &AppInstance,
    now: Duration,
) -> String {
    let InstanceState::Starting { since, unannounced, .. } = one.state else { return String::new() };
    let (ps, asked, limit) = (&one.ps, &plan.asked, limit_of(plan));
    let port = one.port.map_or_else(|| "PORT".to_owned(), |port| format!("PORT {port}"));
    let age = now.saturating_sub(since).as_secs();
    match finding {
        StartFinding::Status(status) => format!(
            "{ps} answers {status} to {asked} on {port}: it is asked until it answers {}, for {limit}",
            plan.expected
        ),
        StartFinding::BadAnswer => {
            format!("{ps} gives no HTTP answer to {asked} on {port}: it is asked again, for {limit}")
        }
        StartFinding::OtherPort => {
            let others = undeclared_listeners(plan, one);
            let first = others.first().copied().unwrap_or_default();
            format!(
                "{ps} listens on {}, nothing listens on {port} so far: it must listen on the port in $PORT, \
                 or get that one by PORT={first} in ENV",
                join_ports(&others)
            )
        }
        StartFinding::OtherAddress => {
            let listener = listens_elsewhere(one).map(|listener| listener.to_string()).unwrap_or_default();
            format!(
                "{ps} listens on {listener}, not on 127.0.0.1: it must listen there ($BIND_ADDRESS) or on all \
                 addresses"
            )
        }
        StartFinding::Respawns => {
            format!("processes of {ps} end and are started again ({})", one.watch.replaced_name)
        }
        StartFinding::NoAnswer(_) => {
            format!("{ps} has accepted {asked} on {port} and has not answered after {age} s; it has {limit}")
        }
        StartFinding::Slow(_) => {
            let what = if unannounced {
                "it has not said READY=1 to $NOTIFY_SOCKET".to_owned()
            } else {
                format!("nothing listens on {port}")
            };
            format!("{ps} starts slowly: {what} after {age} s, {}; it has {limit}", one.watch.activity())
        }
    }
}

/// Returns the time limit of one check as text, if it is shorter than `limit`.
fn in_time(timeout: Duration, limit: Duration) -> String {
    if timeout < limit {
        format!(" within {} s (HEALTHCHECK_TIMEOUT)", timeout.as_secs_f64())
    } else {
        String::new()
    }
}

/// Explains why an instance did not become ready in time, with hints.
pub(super) fn explain_unready(plan: &RunPlan, one: &AppInstance) -> ChangeError {
    let mut error = ChangeError::new(why_not_ready(plan, one));
    if one.watch.respawns() {
        error.reason = format!(
            "{}; its processes end and are started again ({})",
            error.reason, one.watch.replaced_name
        );
    }
    let InstanceState::Starting { last, unannounced, .. } = &one.state else { return error };
    let is_listening = listens_at_port(one).is_some();
    let others = other_listeners(one);
    match (last, others.first()) {
        (Some(ProbeOutcome::Http(400..=499)), _) => {
            error.hints.push("HEALTHCHECK_PATH and HEALTHCHECK_HOST in ENV set what is asked for".to_owned());
        }
        (Some(ProbeOutcome::Refused), Some(port)) if !is_listening && !unannounced => {
            error.hints.push(format!(
                "let it listen on the port in $PORT, or have it given that port: PORT={port} in ENV, or \
                 piku config:set {} PORT={port}",
                plan.app
            ));
        }
        _ => {}
    }
    if one.watch.load >= WORKING && others.is_empty() {
        let longer = plan.ready_within.as_secs_f64() * 2.0;
        error.hints.push(format!(
            "it was still working: HEALTHCHECK_START_PERIOD={longer} in ENV gives a slow start {longer} s"
        ));
    }
    error
}

/// Describes the health check and what happened instead of a good response.
fn why_not_ready(plan: &RunPlan, one: &AppInstance) -> String {
    let InstanceState::Starting { last, patience, unannounced, .. } = &one.state else {
        return String::new();
    };
    let (ps, asked) = (&one.ps, &plan.asked);
    let within = format!("within {}", limit_of(plan));
    let Some(port) = one.port.filter(|_| !unannounced) else {
        let why = if *unannounced { ": it did not say READY=1 to $NOTIFY_SOCKET" } else { "" };
        return format!("{ps} was not ready {within}{why}");
    };
    let elsewhere = listens_elsewhere(one);
    // Earlier checks were refused before it listened; the one in progress was accepted.
    let silent = patience.is_some() && elsewhere.is_none() && listens_at_port(one).is_some();
    match last.as_ref().filter(|last| !(silent && **last == ProbeOutcome::Refused)) {
        Some(ProbeOutcome::Http(status)) => {
            format!("{ps} was not healthy {within}: it answered {status} to {asked} on port {port}")
        }
        Some(ProbeOutcome::Failed(reason)) => format!("{ps} was not healthy {within}: {reason}"),
        Some(ProbeOutcome::Alive | ProbeOutcome::ClientError(_)) => format!("{ps} was not healthy {within}"),
        Some(ProbeOutcome::Closed) => format!(
            "{ps} was not healthy {within}: it accepted {asked} on port {port} and closed the connection without \
             an answer"
        ),
        Some(ProbeOutcome::NotHttp) => format!(
            "{ps} was not healthy {within}: its answer to {asked} on port {port} is not HTTP/1 (an app that speaks \
             no HTTP says HEALTHCHECK=tcp)"
        ),
        Some(ProbeOutcome::Silent) | None => format!(
            "{ps} was not healthy {within}: it accepted {asked} on port {port} and did not answer{}",
            in_time(one.pace.timeout, plan.ready_within)
        ),
        Some(ProbeOutcome::Refused) => match elsewhere {
            Some(listener) => format!(
                "{ps} listens on {listener}, but not on 127.0.0.1: it must listen there ($BIND_ADDRESS) or on all \
                 addresses"
            ),
            None => why_refused(plan, one, port),
        },
    }
}

/// Describes an instance that does not listen on its port.
fn why_refused(plan: &RunPlan, one: &AppInstance, port: u16) -> String {
    let (ps, limit, others) = (&one.ps, limit_of(plan), other_listeners(one));
    if others.is_empty() {
        return format!(
            "nothing listens on PORT {port} after {limit}: {ps} must listen on the port in $PORT; {}",
            one.watch.activity()
        );
    }
    format!(
        "nothing listens on PORT {port}; the process listens on {} ({ps}, after {limit})",
        join_ports(&others)
    )
}
