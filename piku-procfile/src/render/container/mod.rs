//! Renders an app, whose release is a container image, for the engines that run images: Kubernetes, Docker
//! Compose, and systemd with podman (Quadlet).

mod app;
pub(crate) mod compose;
pub(crate) mod kubernetes;
mod limits;
pub(crate) mod quadlet;
mod yaml_text;

pub(crate) use app::{ContainerApp, ContainerSettings, container_variables};
