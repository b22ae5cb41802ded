//! Drops every right that a process has beyond those of its user, for good.

use anyhow::{Context, Result};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_capabilities_secure_bits, set_no_new_privs,
};

/// Keeps the capabilities over a change of the user: [`drop_all`] still needs some.
pub(crate) fn keep_over_change_of_user() -> Result<()> {
    set_capabilities_secure_bits(CapabilitiesSecureBits::NO_SETUID_FIXUP)
        .context("cannot set the secure bits")
}

/// Drops all capabilities in this process and all that it starts, and with them the rights of this user
/// namespace.
pub(crate) fn drop_all() -> Result<()> {
    // Even if uid 0 is mapped, exec gives it no capabilities.
    let bits = CapabilitiesSecureBits::NO_ROOT
        | CapabilitiesSecureBits::NO_ROOT_LOCKED
        | CapabilitiesSecureBits::NO_SETUID_FIXUP
        | CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED;
    set_capabilities_secure_bits(bits).context("cannot lock the secure bits")?;
    clear_ambient_capability_set().context("cannot clear the ambient capabilities")?;
    for number in 0..u64::BITS {
        // The first number without a capability ends the list.
        if remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number)).is_err() {
            break;
        }
    }
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    set_capabilities(None, sets).context("cannot drop the capabilities")?;
    set_no_new_privs(true).context("cannot set no_new_privs")
}

/// Forbids other processes of the same user to trace this process and to read its memory, environment and
/// descriptors.
pub(crate) fn hide() -> Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).context("cannot hide from other processes")
}
