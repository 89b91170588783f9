//! The binary: see `closegate::cli`.

use std::process::ExitCode;

// Without large pages: they would double what a process at rest holds of its own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    closegate::cli::main()
}
