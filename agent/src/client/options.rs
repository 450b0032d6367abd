//! The options of the subcommands that ask a running agent.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::table::Sort;

/// Where the agent is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct Target {
    /// Address and port of the agent, or `unix:` and the path of its socket; without it, the first of the key `listen` of
    /// the configuration.
    #[arg(long, value_name = "[https://]ADDRESS")]
    pub address: Option<String>,

    /// File with the token to show, the first in it; without it, the key `web.session_tokens` of the configuration. It is
    /// shown to an agent that is known by --ca-file, and on this node to one that is root's.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// File with the certificates by which an agent with https:// is known. Without it any certificate is taken.
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,

    /// File with the certificate to show to an agent that asks for one, and with those between it and its authority.
    #[arg(long, value_name = "FILE", requires = "key_file")]
    pub cert_file: Option<PathBuf>,

    /// File with the key of that certificate.
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    pub key_file: Option<PathBuf>,
}

/// Which sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct Filter {
    /// Only sessions of this namespace.
    #[arg(long)]
    pub namespace: Option<String>,

    /// Only sessions of this template.
    #[arg(long)]
    pub template: Option<String>,
}

/// `sessionscope sessions`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct SessionsOptions {
    /// Where the agent is.
    #[command(flatten)]
    pub target: Target,

    /// Which sessions.
    #[command(flatten)]
    pub filter: Filter,

    /// Form of the list.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,

    /// Column by which the list is ordered: figures from the largest on, names by the alphabet.
    #[arg(long, value_enum, value_name = "COLUMN", default_value_t)]
    pub sort: Sort,

    /// Show it anew every two seconds, until Ctrl-C.
    #[arg(long)]
    pub watch: bool,
}

/// Form of the list of sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Aligned columns.
    #[default]
    Table,
    /// The same with more columns.
    Wide,
    /// The agent's answer (docs/api.md), filtered and sorted.
    Json,
}

/// `sessionscope top`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct TopOptions {
    /// Where the agent is.
    #[command(flatten)]
    pub target: Target,

    /// Which sessions.
    #[command(flatten)]
    pub filter: Filter,

    /// Column by which the list is ordered at first.
    #[arg(long, value_enum, value_name = "COLUMN", default_value_t)]
    pub sort: Sort,

    /// Measure for as long as it runs, without an agent: whatever this node has is seen at once. It needs the rights that an
    /// agent needs.
    #[arg(long, conflicts_with = "address")]
    pub standalone: bool,

    /// Print the list once, without taking the terminal.
    #[arg(long, conflicts_with = "json")]
    pub once: bool,

    /// Print the agent's answer (docs/api.md).
    #[arg(long)]
    pub json: bool,
}

/// `sessionscope explain`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct ExplainOptions {
    /// Name of the session.
    #[arg(required_unless_present = "node")]
    pub session: Option<String>,

    /// The node instead: which of its sessions are held back, by what, and who has what there is.
    #[arg(long, conflicts_with = "session")]
    pub node: bool,

    /// Where the agent is.
    #[command(flatten)]
    pub target: Target,

    /// Which, of sessions of one name.
    #[command(flatten)]
    pub filter: Filter,
}

impl Filter {
    /// Whether a session with these labels is wanted.
    pub(super) fn takes(&self, namespace: &str, template: &str) -> bool {
        let is = |wanted: &Option<String>, name| wanted.as_deref().is_none_or(|w| w == name);
        is(&self.namespace, namespace) && is(&self.template, template)
    }
}
