//! Owners of objects. Names in a cluster are made of the names of an app and a process type, and those of two apps may
//! be the same: type `b-web` of app `a`, and type `web` of app `a-b`. An object of another app, or of the operator, is
//! never changed.

use anyhow::Context;
use piku_files::FileLock;
use piku_report::user_error::UserError;
use serde::Deserialize;

use super::KubernetesApp;
use super::objects::ClusterObjects;
use super::state::{INSTANCE, MANAGED_BY, MANAGER, ObjectMetadata};
use crate::lock;
use crate::releases::current;

/// An object that has a name of the app's.
#[derive(Debug, Deserialize)]
struct ExistingObject {
    kind: String,
    metadata: ObjectMetadata,
}

impl KubernetesApp {
    /// Makes the objects in the cluster equal to those in the text.
    ///
    /// # Errors
    /// Fails, and changes nothing, if one of them belongs to another app or to the operator.
    pub(super) fn apply(&self, yaml: &str) -> anyhow::Result<()> {
        if ClusterObjects::names_in(&[yaml])?.is_empty() {
            return Ok(());
        }
        // No other app makes objects between the look and the change.
        let _names = self.lock_names()?;
        self.check_owners(yaml)?;
        self.kubectl().apply_owned(yaml)
    }

    /// Checks that each object of the text is the app's, or new.
    pub(super) fn check_owners(&self, yaml: &str) -> anyhow::Result<()> {
        if ClusterObjects::names_in(&[yaml])?.is_empty() {
            return Ok(());
        }
        let existing: Vec<ExistingObject> = self.kubectl().get_existing(yaml)?;
        match existing.iter().find(|object| !self.owns(&object.metadata)) {
            Some(foreign) => Err(self.foreign_object(foreign).into()),
            None => Ok(()),
        }
    }

    fn owns(&self, object: &ObjectMetadata) -> bool {
        object.label(INSTANCE) == self.app.as_str() && object.label(MANAGED_BY) == MANAGER
    }

    fn foreign_object(&self, ExistingObject { kind, metadata }: &ExistingObject) -> UserError {
        let (app, name) = (&self.app, &metadata.name);
        let (instance, manager) = (metadata.label(INSTANCE), metadata.label(MANAGED_BY));
        if manager == MANAGER && !instance.is_empty() {
            return UserError::new(format!("{kind} {name} in the cluster belongs to the app {instance}"))
                .hint(format!("{app} needs this name too: give the process type another name"));
        }
        let (context, namespace) = (&self.target.context, &self.target.namespace);
        UserError::new(format!("{kind} {name} in the cluster does not belong to {app}")).hint(format!(
            "remove or rename it, or give it to the app: kubectl --context={context} -n {namespace} label \
             --overwrite {kind} {name} {INSTANCE}={app} {MANAGED_BY}={MANAGER}",
            kind = kind.to_ascii_lowercase()
        ))
    }

    /// Waits until no other app of this machine makes objects in this cluster.
    fn lock_names(&self) -> anyhow::Result<FileLock> {
        let is_plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        // Two contexts of the same file name wait for each other, which does no harm.
        let context: String = self.target.context.chars().take(100).map(is_plain).collect();
        let run = self.root.run();
        current::create_dir(&run)?;
        let path = run.join(format!("cluster-{context}.lock"));
        lock::wait_for(&self.root, "the change of another app in the cluster", || {
            lock::try_lock(&path).with_context(|| format!("cannot lock '{}'", path.display()))
        })
    }
}
