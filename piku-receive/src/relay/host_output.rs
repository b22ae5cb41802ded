//! The outputs of a verb on several hosts, below each other or as one list.

use piku_report::output::{self, OutputFormat};
use piku_report::terminal::coloured_text;

/// Name of this host beside those of the target hosts.
pub(super) const OWN_NAME: &str = "here";

/// Result of one host.
pub(super) struct HostResult {
    pub(super) name: String,
    pub(super) output: String,
    /// Reason for which it has not executed the verb.
    pub(super) failure: Option<String>,
    /// It could not be reached.
    pub(super) is_away: bool,
    /// It could not be reached because of a key or a setting, and is not back by itself.
    pub(super) has_no_access: bool,
}

impl HostResult {
    /// Returns the result of this host if its own command has failed, which it has reported.
    pub(super) fn failed_here() -> Self {
        Self {
            name: OWN_NAME.to_owned(),
            output: String::new(),
            failure: Some("failed".to_owned()),
            is_away: false,
            has_no_access: false,
        }
    }
}

/// Returns the format that the arguments name.
pub(super) fn output_format(args: &[String]) -> OutputFormat {
    let after = args.iter().skip_while(|arg| *arg != "--format").nth(1).map(String::as_str);
    let value = after.or_else(|| args.iter().find_map(|arg| arg.strip_prefix("--format=")));
    match value {
        Some("json") => OutputFormat::Json,
        Some("yaml") => OutputFormat::Yaml,
        _ => OutputFormat::Text,
    }
}

/// Returns the arguments for each host. A format that is merged is read as JSON, whose text bounds the memory that it
/// takes: an alias of YAML can stand for any number of rows.
pub(super) fn ask_for_json(args: &[String]) -> Vec<String> {
    let mut is_value = false;
    let arg = |arg: &String| {
        let is_yaml = is_value && arg == "yaml";
        is_value = arg == "--format";
        match arg.as_str() {
            _ if is_yaml => "json".to_owned(),
            "--format=yaml" => "--format=json".to_owned(),
            _ => arg.clone(),
        }
    };
    args.iter().map(arg).collect()
}

/// Prints each output below the name of its host, or all rows as one list in which each row has the name as
/// `machine`.
pub(super) fn print_outputs(results: &[HostResult], format: OutputFormat) -> anyhow::Result<()> {
    let rows = if format == OutputFormat::Text { Vec::new() } else { merge_rows(results) };
    output::print(format, &rows, || render_outputs(results))
}

/// Renders each output below the name of its host, indented: no host can write a line that looks like the name of
/// another one. Only text and colours reach the terminal.
fn render_outputs(results: &[HostResult]) -> String {
    let mut text = String::new();
    for result in results.iter().filter(|result| !result.output.is_empty()) {
        if !text.is_empty() || results.first().is_some_and(|first| first.name == OWN_NAME) {
            text.push('\n');
        }
        text.extend([result.name.as_str(), ":\n"]);
        for line in result.output.lines() {
            text.extend(["  ", coloured_text(line.as_bytes()).trim_end(), "\n"]);
        }
    }
    text
}

/// Returns the rows of all hosts that have answered, with their names.
fn merge_rows(results: &[HostResult]) -> Vec<serde_json::Value> {
    let mut rows = Vec::new();
    for result in results {
        let value = match serde_json::from_str(&result.output) {
            Ok(serde_json::Value::Array(rows)) => rows,
            Ok(serde_json::Value::Null) | Err(_) => continue,
            Ok(other) => vec![other],
        };
        for row in value {
            rows.push(match row {
                serde_json::Value::Object(mut fields) => {
                    fields.insert("machine".to_owned(), result.name.clone().into());
                    fields.into()
                }
                value => serde_json::json!({ "machine": result.name, "value": value }),
            });
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_all_hosts_become_one_list() {
        let of = |name: &str, output: &str| HostResult {
            name: name.to_owned(),
            output: output.to_owned(),
            failure: None,
            is_away: false,
            has_no_access: false,
        };
        let results = [
            of("pi-1", "[{\"instance\": \"web.1\", \"machine\": \"forged\"}]"),
            of("pi-2", "[{\"instance\": \"web.1\"}]"),
            of("pi-3", "- &row [no, JSON]\n- *row\n"),
            of("pi-4", "[7]"),
            of("pi-5", ""),
        ];
        let rows = serde_json::Value::from(merge_rows(&results));
        let expected = serde_json::json!([
            { "instance": "web.1", "machine": "pi-1" },
            { "instance": "web.1", "machine": "pi-2" },
            { "machine": "pi-4", "value": 7 },
        ]);
        assert_eq!(rows, expected);
    }

    #[test]
    fn no_host_speaks_for_another() {
        let of = |name: &str, output: &str| HostResult {
            name: name.to_owned(),
            output: output.to_owned(),
            failure: None,
            is_away: false,
            has_no_access: false,
        };
        let results = [of("pi-1", "PS\npi-2:\nforged\x1b[2J\rpi-2:\n"), of("pi-2", "PS\n"), of("pi-3", "")];
        let text = render_outputs(&results);
        let names: Vec<&str> =
            text.lines().filter(|line| !line.is_empty() && !line.starts_with("  ")).collect();
        assert_eq!(names, ["pi-1:", "pi-2:"], "{text:?}");
        assert!(!text.contains(['\x1b', '\r']), "{text:?}");
    }

    #[test]
    fn the_format_is_that_of_the_arguments() {
        let of = |line: &str| output_format(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(of("--format json"), OutputFormat::Json);
        assert_eq!(of("web --format=yaml"), OutputFormat::Yaml);
        assert_eq!(of("json"), OutputFormat::Text);
        let asked =
            |line: &str| ask_for_json(&line.split(' ').map(str::to_owned).collect::<Vec<_>>()).join(" ");
        assert_eq!(asked("web --format=yaml"), "web --format=json");
        assert_eq!(asked("--format yaml yaml"), "--format json yaml");
        assert_eq!(asked("yaml --format json"), "yaml --format json");
    }
}
