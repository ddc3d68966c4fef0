//! The command line of `./maize`.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    let command = cli::Command::parse_command();
    match command.execute() {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("maize: {error:#}");
            ExitCode::from(maize_launcher::run::STATUS_FABRIC_FAILED)
        }
    }
}
