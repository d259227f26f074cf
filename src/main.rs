//! The program: a thin shell around the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    fifo_retain::fifo::install_crypto();
    ExitCode::from(fifo_retain::cli::run(std::env::args_os()))
}
