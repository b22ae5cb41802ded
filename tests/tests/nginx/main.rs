//! Apps under their host names, served by a real nginx that piku runs.

mod acme;
mod fair_share;
mod first_url;
mod logs;
mod neighbours;
mod settings;
mod sites;
mod upgrade;
