//! The status page: one self-contained file without scripts, fonts or images. Each value is escaped, and a content
//! security policy allows the page its own style and nothing else.

mod app_article;
mod chart;
mod html_writer;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use piku_files::free_space::size;
use piku_files::sha256;

use super::report::{AppReport, HostReport, is_up};
use crate::samples::SampledState;
use crate::time_text::format_local_time;
use html_writer::HtmlWriter;

const STYLE: &str = include_str!("style.css");

/// Use of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PageUse {
    /// A file of its own.
    File,
    /// Served by nginx: it can be reloaded.
    Served,
}

/// Meaning of a state, which decides its colour and its sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StateTone {
    Good,
    Warning,
    Bad,
    Off,
}

impl StateTone {
    fn class(self) -> &'static str {
        match self {
            Self::Good => "state ok",
            Self::Warning => "state warn",
            Self::Bad => "state bad",
            Self::Off => "state off",
        }
    }

    fn sign(self) -> &'static str {
        match self {
            Self::Good => "✓",
            Self::Warning => "!",
            Self::Bad => "✕",
            Self::Off => "–",
        }
    }
}

/// Returns the content security policy of the page.
pub(super) fn content_policy() -> String {
    let hash = sha256::hash_reader(&mut STYLE.as_bytes()).unwrap_or_default();
    let style = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, hash);
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; img-src data:; base-uri 'none'; form-action 'none'"
    )
}

/// Renders the page.
pub(super) fn render(report: &HostReport, page_use: PageUse) -> String {
    let mut to = HtmlWriter::default();
    to.markup("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    to.open("meta", &[("http-equiv", "Content-Security-Policy"), ("content", &content_policy())]);
    to.markup(
        "\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"robots\" content=\"noindex\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n<link rel=\"icon\" href=\"data:,\">\n",
    );
    let title = match report.problems.len() {
        0 => format!("{}: no problems", report.host),
        1 => format!("{}: 1 problem", report.host),
        more => format!("{}: {more} problems", report.host),
    };
    to.text_element("title", &[], &title);
    to.markup("<style>");
    to.markup(STYLE);
    to.markup("</style>\n</head>\n<body>\n<a class=\"skip\" href=\"#apps\">Skip to the apps</a>\n");
    add_header(&mut to, report, page_use);
    to.element("main", &[], |to| {
        add_tiles(to, report);
        add_problems(to, report);
        to.element("section", &[("id", "apps"), ("aria-labelledby", "apps-title")], |to| {
            to.markup("<h2 id=\"apps-title\">Apps</h2>\n");
            if report.apps.is_empty() {
                to.markup("<p class=\"calm\">There is no app yet.</p>\n");
                return;
            }
            if report.apps.len() > 1 {
                add_overview(to, report);
            }
            for app in &report.apps {
                app_article::add_article(to, app);
            }
        });
    });
    let zone = TimeZone::system();
    to.element("footer", &[], |to| {
        let zone = zone.iana_name().unwrap_or("of the machine");
        to.text_element("p", &[], &format!("Times are in the zone {zone}. Secrets are removed from logs."));
    });
    to.markup("</body>\n</html>\n");
    to.finish()
}

fn add_header(to: &mut HtmlWriter, report: &HostReport, page_use: PageUse) {
    to.element("header", &[], |to| {
        to.text_element("h1", &[], &report.host);
        to.element("p", &[], |to| {
            to.text(&format!("piku {}, as of ", report.version));
            add_time(to, report.at);
        });
        if page_use == PageUse::Served {
            to.markup(
                "<nav aria-label=\"Reloading\"><a href=\"live\">Reload every minute</a> · <a href=\"./\">Reload once</a></nav>\n",
            );
        }
    });
}

fn add_tiles(to: &mut HtmlWriter, report: &HostReport) {
    to.element("dl", &[("class", "tiles")], |to| {
        let instances = || report.apps.iter().flat_map(AppReport::instances);
        let up = instances().filter(|one| is_up(one)).count();
        add_tile(to, "Apps", &report.apps.len().to_string(), |to| {
            to.text_element("small", &[], &format!("{up} of {} instances are up", instances().count()));
        });
        add_tile(to, "Problems", &report.problems.len().to_string(), |to| {
            let restarts: u64 = report.apps.iter().map(AppReport::restarts).sum();
            to.text_element("small", &[], &format!("{restarts} restarts after crashes"));
        });
        let disk = report.disk;
        add_share(to, "Disk", disk.free_bytes, disk.total_bytes, "free");
        if let (Some(available), Some(total)) = (report.memory.available_bytes, report.memory.total_bytes) {
            add_share(to, "Memory", available, total, "available");
        }
    });
}

fn add_tile(to: &mut HtmlWriter, title: &str, value: &str, more: impl FnOnce(&mut HtmlWriter)) {
    to.element("div", &[], |to| {
        to.text_element("dt", &[], title);
        to.element("dd", &[], |to| {
            to.text(value);
            more(to);
        });
    });
}

fn add_share(to: &mut HtmlWriter, title: &str, free: u64, total: u64, word: &str) {
    let used = u128::from(total.saturating_sub(free)) * 1000;
    let per_mille = used / u128::from(total.max(1));
    add_tile(to, title, &format!("{} {word}", size(free)), |to| {
        to.text_element("small", &[], &format!("{} % of {} in use", (per_mille + 5) / 10, size(total)));
        let width = per_mille.to_string();
        let svg = [
            ("class", "bar"),
            ("viewBox", "0 0 1000 40"),
            ("preserveAspectRatio", "none"),
            ("aria-hidden", "true"),
        ];
        to.element("svg", &svg, |to| {
            to.markup("<rect width=\"1000\" height=\"40\"></rect>");
            to.element("rect", &[("class", "used"), ("width", &width), ("height", "40")], |_| {});
        });
    });
}

fn add_problems(to: &mut HtmlWriter, report: &HostReport) {
    to.element("section", &[("aria-labelledby", "problems-title")], |to| {
        to.markup("<h2 id=\"problems-title\">Problems</h2>\n");
        if report.problems.is_empty() {
            to.markup("<p class=\"calm\">No problems.</p>\n");
            return;
        }
        to.element("ul", &[("class", "problems")], |to| {
            for problem in &report.problems {
                to.text_element("li", &[], &problem.text);
            }
        });
    });
}

/// Adds a table of all apps, each a link to its article.
fn add_overview(to: &mut HtmlWriter, report: &HostReport) {
    let headings = [
        ("App", false),
        ("State", false),
        ("Release", true),
        ("Up", true),
        ("Restarts", true),
        ("CPU", true),
        ("Memory", true),
        ("URL", false),
    ];
    add_table(to, "All apps", &headings, |to| {
        for app in &report.apps {
            to.element("tr", &[], |to| {
                to.element("th", &[("scope", "row")], |to| {
                    to.text_element("a", &[("href", &format!("#app-{}", app.name()))], app.name());
                });
                to.element("td", &[], |to| app_article::add_app_state(to, app));
                let (all, up) = (app.instances().count(), app.instances().filter(|one| is_up(one)).count());
                add_number(to, app.summary.release.map(|number| number.to_string()));
                add_number(to, Some(format!("{up}/{all}")));
                add_number(to, Some(app.restarts().to_string()));
                add_number(to, app.cpu_percent().map(|percent| format!("{percent:.1} %")));
                add_number(to, app.memory_bytes().map(size));
                to.element("td", &[], |to| {
                    app_article::add_link(to, app.summary.urls.first().map(String::as_str));
                });
            });
        }
    });
}

/// Adds a table that scrolls sideways on a narrow screen, also by keyboard. Headings of numbers are on the right.
fn add_table(
    to: &mut HtmlWriter,
    caption: &str,
    headings: &[(&str, bool)],
    rows: impl FnOnce(&mut HtmlWriter),
) {
    let region = [("class", "table"), ("role", "region"), ("tabindex", "0"), ("aria-label", caption)];
    to.element("div", &region, |to| {
        to.element("table", &[], |to| {
            to.text_element("caption", &[], caption);
            to.element("thead", &[], |to| {
                to.element("tr", &[], |to| {
                    for (heading, is_number) in headings {
                        let class = if *is_number { "number" } else { "" };
                        let attributes = [("scope", "col"), ("class", class)];
                        to.text_element("th", &attributes[..=usize::from(*is_number)], heading);
                    }
                });
            });
            to.element("tbody", &[], rows);
        });
    });
}

#[expect(clippy::needless_pass_by_value, reason = "each caller makes the text for this")]
fn add_number(to: &mut HtmlWriter, value: Option<impl AsRef<str>>) {
    let value = value.as_ref().map_or("–", AsRef::as_ref);
    to.text_element("td", &[("class", "number")], value);
}

fn add_cell(to: &mut HtmlWriter, value: Option<&str>) {
    to.text_element("td", &[], value.filter(|value| !value.is_empty()).unwrap_or("–"));
}

fn add_time_cell(to: &mut HtmlWriter, time: Option<Timestamp>) {
    to.element("td", &[], |to| match time {
        Some(time) => add_time(to, time),
        None => to.text("–"),
    });
}

fn add_time(to: &mut HtmlWriter, time: Timestamp) {
    to.text_element("time", &[("datetime", &format!("{time:.0}"))], &format_local_time(time));
}

/// Adds a state: its sign, which screen readers skip, and its name.
fn add_state(to: &mut HtmlWriter, tone: StateTone, name: &str) {
    to.element("span", &[("class", tone.class())], |to| {
        to.text_element("span", &[("aria-hidden", "true")], tone.sign());
        to.text(name);
    });
}

fn tone_of_instance(state: SampledState) -> StateTone {
    match state {
        SampledState::Healthy | SampledState::Running | SampledState::Waiting => StateTone::Good,
        SampledState::Starting | SampledState::Draining | SampledState::Backoff => StateTone::Warning,
        SampledState::CrashLooping | SampledState::Unknown => StateTone::Bad,
        SampledState::Stopped => StateTone::Off,
    }
}

#[cfg(test)]
mod tests;
