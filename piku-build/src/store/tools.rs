//! The stores of tools: an app's own, and the one that all apps of the machine share.

use crate::plan::build_plan::LayerPlan;
use crate::store::layer::LayerStore;

/// The stores of the layers with tools.
#[derive(Clone, Copy, Default)]
pub(crate) struct ToolStores<'a> {
    /// Store in the app's build cache.
    pub(crate) own: Option<&'a LayerStore>,
    /// Store of the machine. Nothing that an app wrote or chose reaches the steps that fill it.
    pub(crate) shared: Option<&'a LayerStore>,
}

impl<'a> ToolStores<'a> {
    /// Returns whether there is a store that all apps share.
    pub(crate) fn is_shared(self) -> bool {
        self.shared.is_some()
    }

    pub(crate) fn of(self, tool: &LayerPlan) -> Option<&'a LayerStore> {
        if tool.is_shared { self.shared } else { self.own }
    }

    /// Returns whether the tool is there already.
    pub(crate) fn is_complete(self, tool: &LayerPlan) -> bool {
        self.of(tool).is_some_and(|store| store.is_complete(&tool.key))
    }
}
