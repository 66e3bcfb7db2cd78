//! The command line: one file per subcommand. Data and JSON go to standard output, everything else to
//! standard error; colour and progress only to a terminal.

pub mod args;

mod about;
mod backup;
mod bench;
mod cloud;
mod config;
mod daemon;
mod delete;
#[cfg(feature = "emulator")]
mod demo;
mod diary;
mod exit;
mod export;
mod failure;
mod get;
mod history;
mod import;
mod list;
mod mcp;
mod migrate;
mod model;
mod outbox;
mod output;
mod restore;
mod search;
mod session;
mod status;
mod store;
mod tags;
mod up;
mod update;

use args::{Args, Command};
use clap::Parser as _;
use failure::Failure;
use session::Session;
use std::process::ExitCode;

/// Runs the program with the process's arguments and environment.
pub fn main() -> ExitCode {
    // A defect has its own exit code; the panic's message has been printed by then.
    std::panic::catch_unwind(parse_then_run)
        .unwrap_or(ExitCode::from(failure::Code::Internal as u8))
}

fn parse_then_run() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return exit::usage(&error),
    };
    let outcome = match args.command {
        // Packages are made where there is no home folder.
        Command::Completions(args) => about::completions(&args),
        Command::Man => about::man(),
        // What helps out of a broken config file must not need it.
        Command::Down | Command::Status(_) | Command::Config(args::Config::Path) => {
            Session::open_leniently(&args.global).and_then(|session| run(&session, args.command))
        }
        command => Session::open(&args.global).and_then(|session| run(&session, command)),
    };
    match outcome {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

fn run(session: &Session, command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Up(args) => up::run(session, &args),
        Command::Down => up::down(session),
        Command::Daemon(args) => daemon::run(session, &args),
        Command::Mcp(args) => mcp::run(session, &args),
        Command::Status(args) => status::run(session, &args),
        Command::Store(args) => store::run(session, args),
        Command::Search(args) => search::run(session, args),
        Command::Get(args) => get::run(session, &args),
        Command::List(args) => list::run(session, &args),
        Command::Tags(args) => tags::run(session, &args),
        Command::Update(args) => update::run(session, args),
        Command::Delete(args) => delete::run(session, args),
        Command::History(args) => history::run(session, &args),
        Command::Restore(args) => restore::run(session, &args),
        Command::Export(args) => export::run(session, &args),
        Command::Import(args) => import::run(session, &args),
        Command::Backup(args) => backup::run(session, &args),
        Command::Cloud(command) => cloud::run(session, command),
        Command::Outbox(command) => outbox::run(session, command),
        Command::Migrate(command) => migrate::run(session, command),
        Command::Model(command) => model::run(session, command),
        Command::Config(command) => config::run(session, command),
        Command::Bench(args) => bench::run(session, args),
        #[cfg(feature = "emulator")]
        Command::Demo => demo::run(session),
        Command::Completions(args) => about::completions(&args),
        Command::Man => about::man(),
    }
}
