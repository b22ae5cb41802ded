//! Pushes over a real ssh, and what an operator does with what they deploy.

mod app_files;
mod bad_input;
mod before_first_push;
mod build_control;
mod ci;
mod deploy_key;
mod operator;
mod output;
mod own_users;
mod prepared_roots;
mod push;
mod rebuild;
mod recycled_trees;
mod stages;
mod writes;
