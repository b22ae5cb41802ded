//! Machines that differ from the build host: other architectures, older systems, releases sent over ssh.

mod kinds;
mod platforms;
mod ship;
