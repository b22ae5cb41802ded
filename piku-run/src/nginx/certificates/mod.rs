//! The certificates of the apps' host names: self-signed, from an authority, or the operator's own.

pub(super) mod acme;
pub(super) mod app_certificates;
pub(super) mod certificate_links;
pub(super) mod imported_certificate;
pub(super) mod operator_certificate;
