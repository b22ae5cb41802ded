//! `kubernetes:` of an app in `deploy_to`: the cluster in which its releases run. Context, namespace and registry
//! are the operator's choice: no app and no key can set them.

use std::path::PathBuf;

use piku_report::user_error::UserError;
use serde::{Deserialize, Deserializer, Serialize};

use super::MachineAddress;

/// Cluster of Kubernetes in which an app runs, and the way of its images there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterTarget {
    /// Context of the kubeconfig: cluster and user.
    pub context: String,
    /// Namespace of all objects of the app; it must exist.
    pub namespace: String,
    /// Kubeconfig; that of kubectl when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubeconfig: Option<PathBuf>,
    /// Program `kubectl`, if it is not on the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubectl: Option<PathBuf>,
    /// Registry for the images, with the path below which the app's image is: `registry.example.org/apps`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<String>,
    /// File with the registry's password, as `skopeo login --authfile` writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry_auth: Option<PathBuf>,
    /// False for a registry without TLS.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub registry_tls: bool,
    /// Nodes of k3s to which images go by ssh, in place of a registry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<MachineAddress>,
    /// Architectures of the nodes, as `uname -m` prints them; that of this machine when there are none. Builds are for
    /// the first one.
    #[serde(default, deserialize_with = "one_or_several", skip_serializing_if = "Vec::is_empty")]
    pub architecture: Vec<String>,
    /// Base of the images, as `piku-build pack --base` takes it; Debian's packages that a release needs when not
    /// given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<PathBuf>,
    /// Packages of Debian that the images have as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<String>,
    /// Size of the volume at `/data`; without one, files there end with the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_size: Option<String>,
    /// Storage class of the volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<String>,
    /// True if pods on several nodes may mount the volume at once.
    #[serde(default, skip_serializing_if = "is_no")]
    pub shared_data: bool,
    /// Class of the ingress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress_class: Option<String>,
    /// Cluster issuer of cert-manager.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_issuer: Option<String>,
    /// Certificate resolver of Traefik.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traefik_resolver: Option<String>,
    /// Secret with the registry's password, for the nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_secret: Option<String>,
    /// True if the app may write anywhere in its container.
    #[serde(default, skip_serializing_if = "is_no")]
    pub writable_root: bool,
}

/// Value of `architecture`.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected an architecture, or a list of them: [aarch64, x86_64]")]
enum NodeArchitectures {
    One(String),
    Several(Vec<String>),
}

fn one_or_several<'de, D: Deserializer<'de>>(value: D) -> Result<Vec<String>, D::Error> {
    Ok(match NodeArchitectures::deserialize(value)? {
        NodeArchitectures::One(name) => vec![name],
        NodeArchitectures::Several(names) => names,
    })
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_yes(value: &bool) -> bool {
    *value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_no(value: &bool) -> bool {
    !*value
}

impl ClusterTarget {
    /// Checks the values that become arguments or parts of names.
    ///
    /// # Errors
    /// Fails with the key and the form that it must have.
    pub fn check(&self) -> Result<(), UserError> {
        let bad = |key: &str, hint: &str| {
            Err(UserError::new(format!("bad '{key}' of kubernetes in deploy_to of host.yaml")).hint(hint))
        };
        if self.context.is_empty() || self.context.contains(char::is_control) {
            return bad("context", "one of those that 'kubectl config get-contexts -o name' prints");
        }
        if !is_label(&self.namespace) {
            return bad("namespace", "a name of a-z, 0-9 and '-', up to 63 characters");
        }
        match &self.registry {
            Some(registry) if !is_registry(registry) => {
                return bad(
                    "registry",
                    "HOST[:PORT][/PATH] in lower case, such as registry.example.org/apps",
                );
            }
            Some(_) if !self.nodes.is_empty() => {
                return bad("nodes", "images go to a registry or to the nodes: remove one of the two");
            }
            None if self.nodes.is_empty() => {
                return bad(
                    "registry",
                    "name a registry, or the nodes of k3s: nodes: [root@pi-2, root@pi-3]",
                );
            }
            _ => {}
        }
        let is_word = |word: &str| {
            (1..=32).contains(&word.len())
                && word != "any"
                && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        let names = &self.architecture;
        if !names.iter().all(|name| is_word(name)) {
            return bad("architecture", "as 'uname -m' prints it on the nodes: aarch64, x86_64");
        }
        if names.iter().enumerate().any(|(index, name)| names[..index].contains(name)) {
            return bad("architecture", "name each architecture once");
        }
        Ok(())
    }
}

fn is_label(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(is_inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Returns whether the text is a host with an optional port, and names below it.
fn is_registry(text: &str) -> bool {
    let is_part = |part: &str, marks: &[u8]| {
        let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || marks.contains(&byte);
        part.starts_with(|c: char| c.is_ascii_alphanumeric()) && part.bytes().all(is_inner)
    };
    let mut parts = text.split('/');
    let host = parts.next().unwrap_or_default();
    let (name, port) = host.split_once(':').unwrap_or((host, "443"));
    is_part(name, b".-") && port.parse::<u16>().is_ok() && parts.all(|part| is_part(part, b"._-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(more: &str) -> ClusterTarget {
        serde_yaml::from_str(&format!("{{context: pi, namespace: shop, {more}}}")).expect("a target")
    }

    #[test]
    fn images_need_one_way_to_the_nodes() {
        for good in [
            "registry: registry.example.org",
            "registry: 'pi-1:5000/a/b_c'",
            "nodes: [root@pi-2, 'pi-3:22']",
            "registry: a, architecture: aarch64",
            "registry: a, architecture: [aarch64, x86_64]",
        ] {
            target(good).check().expect(good);
        }
        for bad in [
            "architecture: x86_64",
            "registry: a.example, nodes: [pi]",
            "registry: 'https://a.example'",
            "registry: -a",
            "registry: 'a:x'",
            "registry: a/",
            "registry: a/../b",
            "registry: A.example",
            "registry: a, architecture: any",
            "registry: a, architecture: '-x'",
            "registry: a, architecture: [aarch64, any]",
            "registry: a, architecture: [aarch64, aarch64]",
        ] {
            target(bad).check().expect_err(bad);
        }
    }

    #[test]
    fn names_cannot_be_options() {
        let with = |context: &str, namespace: &str| ClusterTarget {
            context: context.to_owned(),
            namespace: namespace.to_owned(),
            ..target("registry: a")
        };
        with("k3s@pi", "a-b").check().expect("both");
        for (context, namespace) in
            [("", "a"), ("a\nb", "a"), ("a", ""), ("a", "-n"), ("a", "A"), ("a", "a b")]
        {
            with(context, namespace).check().expect_err(namespace);
        }
        let written = serde_yaml::to_string(&target("registry: a")).expect("YAML");
        assert_eq!(written, "context: pi\nnamespace: shop\nregistry: a\n");
    }
}
