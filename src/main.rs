use std::process::ExitCode;

fn main() -> ExitCode {
    qlua::cli::main()
}
