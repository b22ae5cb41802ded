//! The program `piku-procfile`.

fn main() -> std::process::ExitCode {
    piku_procfile::main()
}
