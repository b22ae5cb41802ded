//! Pushes over a real ssh, and what an operator does with what they deploy.

mod app_files;
mod bad_input;
mod before_first_push;
mod build_control;
mod ci;
mod deploy_key;
mod grants;
mod import_piku;
mod names;
mod notify;
mod operate;
mod output;
mod own_users;
mod push;
mod rebuild;
mod releases;
mod stages;
mod verbs;
mod writes;
