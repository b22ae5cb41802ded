//! `piku-multicall`: the library beside this file is the program.

fn main() -> std::process::ExitCode {
    piku_multicall::main()
}
