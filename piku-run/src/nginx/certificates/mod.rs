//! The certificates of the host names of the apps and of the status page: self-signed, from an authority, or the operator's own.

pub(super) mod acme;
pub(super) mod acme_client;
pub(super) mod app_certificates;
pub(super) mod certificate_links;
mod certificate_owner;
mod client_reason;
pub(super) mod imported_certificate;
pub(super) mod operator_certificate;
mod order_log;
