//! `piku-build`: the library beside this file is the program.

fn main() -> std::process::ExitCode {
    piku_build::main()
}
