//! The command line.
//!
//! Flags that override a configuration key are plain text here: they go through the validation that
//! the file and the environment go through, so that a value is accepted or refused everywhere alike.

use std::{ffi::OsString, path::PathBuf};

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::{
    client::{ExplainOptions, ReportOptions, SessionsOptions, TopOptions},
    config::Inputs,
    version,
};

/// Above what any subcommand takes, below its own options.
const CONFIGURATION: &str = "Configuration";

/// Per-session kernel and GPU telemetry for VDI and notebook nodes.
#[derive(Debug, Clone, Parser)]
#[command(version = version::text(), max_term_width = 100)]
pub struct Cli {
    /// Configuration file (TOML); without it, all but `run` read `/etc/sessionscope/sessionscope.toml` if it is there.
    #[arg(long, global = true, help_heading = CONFIGURATION, value_name = "FILE", env = "SESSIONSCOPE_CONFIG")]
    pub config: Option<PathBuf>,

    /// Where to serve, `address:port` or `unix:/path`, more than one with `;` between them [key: `listen`].
    #[arg(long, global = true, help_heading = CONFIGURATION, value_name = "ADDRESS")]
    pub listen: Option<String>,

    /// Form of the log, text or json [key: `log.format`].
    #[arg(long, global = true, help_heading = CONFIGURATION, value_name = "FORMAT")]
    pub log_format: Option<String>,

    /// Least level that is logged [key: `log.level`].
    #[arg(long, global = true, help_heading = CONFIGURATION, value_name = "LEVEL")]
    pub log_level: Option<String>,

    /// Most sessions measured at once [key: `sessions.max_sessions`].
    #[arg(long, global = true, help_heading = CONFIGURATION, value_name = "COUNT")]
    pub max_sessions: Option<String>,

    /// How long an ended session's series stay, for example 5m [key: `sessions.linger`].
    #[arg(long, global = true, help_heading = CONFIGURATION, value_name = "DURATION")]
    pub linger: Option<String>,

    /// Web configuration file, of the format of Prometheus's exporters [key: `web.config_file`].
    #[arg(long = "web.config.file", global = true, help_heading = CONFIGURATION, value_name = "FILE")]
    pub web_config_file: Option<String>,

    /// Print the configuration in effect as a commented TOML file, and exit.
    #[arg(long, global = true, help_heading = CONFIGURATION)]
    pub print_config: bool,

    /// What to do; without it, `run`, and alone on a terminal this help.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Measure sessions and serve their metrics (the default).
    Run,
    /// Check whether this node is fit, and say what to do where it is not.
    Check {
        /// Form of the findings.
        #[arg(long, value_enum, default_value_t)]
        format: CheckFormat,
        /// Say instead which capabilities are held, which the agent gives up, and what the others are for.
        #[arg(long)]
        security: bool,
    },
    /// Try the rules by which cgroups become sessions.
    Rules {
        /// What to do with them.
        #[command(subcommand)]
        command: RulesCommand,
    },
    /// List the sessions of a running agent.
    Sessions(SessionsOptions),
    /// Watch the sessions of a running agent live: sort, search, and enter one.
    Top(TopOptions),
    /// Explain one session of a running agent on one page.
    Explain(ExplainOptions),
    /// Report on a day of all sessions, from what Prometheus has.
    Report(ReportOptions),
    /// Print the metrics that the agent exposes.
    Metrics {
        /// Form of the list.
        #[arg(long, value_enum, default_value_t)]
        format: MetricsFormat,
    },
    /// Print the reference of the configuration (Markdown).
    Configuration,
    /// Print the reference of what the log says (Markdown).
    Events,
    /// Print what makes a shell complete the words of this command.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Print the manual page (troff).
    Manual,
}

/// What to do with the rules.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum RulesCommand {
    /// Say for each cgroup of this node which rule takes it, or why none does.
    Test {
        /// Only this cgroup: its path as `/proc/PID/cgroup` has it behind `0::`, or its directory.
        path: Option<PathBuf>,
        /// Only the cgroup of this process.
        #[arg(long, value_name = "PID", conflicts_with = "path")]
        pid: Option<u32>,
        /// Form of the answer.
        #[arg(long, value_enum, default_value_t)]
        format: CheckFormat,
    },
}

/// Form of the findings of `check`, and of what `rules test` says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum CheckFormat {
    /// One line a finding.
    #[default]
    Text,
    /// JSON.
    Json,
}

/// Form of the list of metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum MetricsFormat {
    /// Aligned columns.
    #[default]
    Table,
    /// The reference of the metrics.
    Markdown,
    /// A JSON array.
    Json,
}

impl Cli {
    /// The subcommand, `run` if none was given.
    pub fn action(&self) -> Command {
        self.command.clone().unwrap_or(Command::Run)
    }

    /// What the configuration is made from. `environment` is the process's; variables that are not
    /// UTF-8 are only looked at if they are the agent's, and then fail validation as text.
    pub fn inputs(&self, environment: impl IntoIterator<Item = (OsString, OsString)>) -> Inputs {
        let text = |text: OsString| text.to_string_lossy().into_owned();
        let flags = self.overrides().into_iter();
        Inputs {
            file: self.config.clone(),
            environment: environment
                .into_iter()
                .map(|(name, value)| (text(name), text(value)))
                .filter(|(name, _)| name.starts_with(crate::config::PREFIX))
                .collect(),
            flags: flags
                .filter_map(|(key, value)| Some((key, value?)))
                .collect(),
        }
    }

    /// The flags that override a key, by the key's path. The pattern has no `..`, so that a new flag
    /// is not forgotten here.
    fn overrides(&self) -> [(&'static str, Option<String>); 6] {
        let Self {
            listen,
            log_format,
            log_level,
            max_sessions,
            linger,
            web_config_file,
            config: _,
            print_config: _,
            command: _,
        } = self.clone();
        [
            ("listen", listen),
            ("log.format", log_format),
            ("log.level", log_level),
            ("sessions.max_sessions", max_sessions),
            ("sessions.linger", linger),
            ("web.config_file", web_config_file),
        ]
    }
}

/// What `--help` prints.
pub fn help() -> String {
    Cli::command().render_help().to_string()
}

/// What makes a shell complete the words of the command.
pub fn completions(shell: Shell) -> String {
    let mut command = Cli::command();
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// The manual page, in troff.
pub fn manual() -> String {
    let mut page = Vec::new();
    let written = clap_mangen::Man::new(Cli::command()).render(&mut page);
    written.expect("memory takes what is written");
    String::from_utf8_lossy(&page).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Key, keys};

    fn parse(arguments: &[&str]) -> Cli {
        Cli::try_parse_from([&["sessionscope"], arguments].concat()).unwrap()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_of_a_key_exists_and_reaches_its_key() {
        let cli = parse(&[]);
        let overridden: Vec<&str> = cli.overrides().iter().map(|(path, _)| *path).collect();
        let flagged: Vec<&Key> = keys().filter(|key| key.flag.is_some()).collect();
        assert_eq!(
            overridden,
            flagged
                .iter()
                .map(|key| key.path.as_str())
                .collect::<Vec<_>>()
        );
        for key in flagged {
            // The other is a path.
            let argument = key.value(&Config::default());
            let argument = argument.unwrap_or_else(|| "/x".to_owned());
            let argument = argument.trim_matches('"');
            let inputs = parse(&[key.flag.unwrap(), argument]).inputs([]);
            assert_eq!(inputs.flags, [(key.path.as_str(), argument.to_owned())]);
            Config::load(&inputs).unwrap();
        }
    }

    #[test]
    fn run_is_the_default_and_flags_may_follow_a_subcommand() {
        assert_eq!(parse(&["--linger", "9s"]).action(), Command::Run);
        let cli = parse(&["check", "--format", "json", "--listen", "[::]:1"]);
        assert_eq!(
            cli.action(),
            Command::Check {
                format: CheckFormat::Json,
                security: false,
            }
        );
        assert_eq!(cli.inputs([]).flags, [("listen", "[::]:1".to_owned())]);
        assert_eq!(
            parse(&["check", "--security"]).action(),
            Command::Check {
                format: CheckFormat::Text,
                security: true,
            }
        );
    }

    #[test]
    fn shells_and_the_manual_know_the_subcommands() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = completions(shell);
            assert!(script.contains("explain"), "{shell}: {script}");
        }
        let page = manual();
        assert!(
            page.contains("sessionscope") && page.contains("explain"),
            "{page}"
        );
    }

    #[test]
    fn only_the_agents_own_variables_are_taken() {
        let environment = [("HOME", "/root"), ("SESSIONSCOPE_LISTEN", "[::]:1")];
        let inputs = parse(&[]).inputs(environment.map(|(k, v)| (k.into(), v.into())));
        assert_eq!(
            inputs.environment,
            [("SESSIONSCOPE_LISTEN".to_owned(), "[::]:1".to_owned())]
        );
    }
}
