//! Processor and memory of pods by the metrics API, which many clusters have and some do not.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use crate::kubernetes::KubernetesApp;
use crate::kubernetes::kubectl::KubectlClient;

/// Limit of the question: rows do not wait longer for figures.
const REQUEST_LIMIT: &str = "--request-timeout=3s";

/// Usage of a pod at its last measurement.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct PodUsage {
    /// Percent of one processor.
    pub(super) cpu_percent: Option<f64>,
    /// Its working set in bytes.
    pub(super) memory_bytes: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct MetricsList {
    items: Vec<PodMetrics>,
}

#[derive(Debug, Deserialize)]
struct PodMetrics {
    metadata: MeasuredPod,
    #[serde(default)]
    containers: Vec<ContainerMetrics>,
}

#[derive(Debug, Deserialize)]
struct MeasuredPod {
    name: String,
}

#[derive(Debug, Deserialize)]
struct ContainerMetrics {
    #[serde(default)]
    usage: BTreeMap<String, String>,
}

impl KubernetesApp {
    /// Returns the usage of the app's pods, by their names; none if the cluster does not measure it, or the user of the
    /// context may not ask.
    pub(super) fn pod_usage(&self) -> BTreeMap<String, PodUsage> {
        let selector = self.selector().replace('/', "%2F").replace('=', "%3D").replace(',', "%2C");
        let path = format!(
            "--raw=/apis/metrics.k8s.io/v1beta1/namespaces/{}/pods?labelSelector={selector}",
            self.target.namespace
        );
        let client = KubectlClient::new(&self.target, Duration::ZERO);
        client.run(&["get", &path, REQUEST_LIMIT]).map(|text| parse_usage(&text)).unwrap_or_default()
    }
}

fn parse_usage(text: &str) -> BTreeMap<String, PodUsage> {
    let Ok(list) = serde_json::from_str::<MetricsList>(text) else { return BTreeMap::new() };
    let usage_of = |pod: PodMetrics| {
        let sum = |resource: &str| {
            let of_each = pod.containers.iter().filter_map(|one| parse_quantity(one.usage.get(resource)?));
            of_each.reduce(|one, other| one + other)
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float is clamped")]
        let memory_bytes = sum("memory").map(|bytes| bytes as u64);
        let usage = PodUsage { cpu_percent: sum("cpu").map(|cores| cores * 100.0), memory_bytes };
        (pod.metadata.name, usage)
    };
    list.items.into_iter().map(usage_of).collect()
}

/// Parses a quantity of Kubernetes, such as `250m`, `1234567n` or `12Ki`; `None` if it is none, or is negative.
fn parse_quantity(text: &str) -> Option<f64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let factor = match suffix {
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "" => 1.0,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        "Ti" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        exponent => 10f64.powi(exponent.strip_prefix(['e', 'E'])?.parse().ok()?),
    };
    let value = number.parse::<f64>().ok()? * factor;
    value.is_finite().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_have_their_units() {
        let is = |text: &str, value: f64| {
            assert!(parse_quantity(text).is_some_and(|it| (it - value).abs() < value * 1e-9), "{text}");
        };
        is("250m", 0.25);
        is("156340391n", 0.156_340_391);
        is("2", 2.0);
        is("1.5", 1.5);
        is("123456Ki", 126_418_944.0);
        is("12Mi", 12_582_912.0);
        is("129e6", 129_000_000.0);
        for bad in ["", "m", "-1", "1x", "1e", "1e999", "1 Ki"] {
            assert_eq!(parse_quantity(bad), None, "{bad}");
        }
    }

    #[test]
    fn containers_of_a_pod_count_together() {
        let text = r#"{"kind": "PodMetricsList", "items": [
            {"metadata": {"name": "blog-web-1"}, "window": "15s", "containers": [
                {"name": "web", "usage": {"cpu": "20m", "memory": "10Mi"}},
                {"name": "mesh", "usage": {"cpu": "5m", "memory": "2Mi"}}]},
            {"metadata": {"name": "blog-web-2"}, "containers": []}]}"#;
        let usage = parse_usage(text);
        let first = usage.get("blog-web-1").unwrap();
        assert!((first.cpu_percent.unwrap() - 2.5).abs() < 1e-9);
        assert_eq!(first.memory_bytes, Some(12 << 20));
        assert_eq!(usage.get("blog-web-2"), Some(&PodUsage::default()));
        assert!(parse_usage("<html>").is_empty());
    }
}
