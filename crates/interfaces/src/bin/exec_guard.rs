//! The guard of exec interfaces on its own, for the tests of this crate; the gateway's binary calls the same function
//! under its hidden subcommand.

fn main() -> std::process::ExitCode {
    hearthgate_interfaces::exec::guard::main(std::env::args_os().skip(1))
}
