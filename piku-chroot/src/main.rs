//! `piku-chroot`: the library beside this file is the program.

fn main() -> std::process::ExitCode {
    piku_chroot::main()
}
