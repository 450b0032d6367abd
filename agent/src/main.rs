//! The agent's binary: parses, dispatches, and turns an error into an exit code.

use std::{
    fs::File,
    io::{self, IsTerminal as _},
    process::ExitCode,
};

use clap::Parser;
use sessionscope::{
    allocator,
    app::{self, Start, fitness, standalone::Standalone},
    cli::{self, CheckFormat, Cli, Command, MetricsFormat, RulesCommand},
    client::{self, OwnAgent, TopOptions},
    config::{self, Config, Inputs},
    discover::{
        rules::Rules,
        trial::{self, Trial},
    },
    error::Error,
    kernel::{capabilities, preflight},
    limits, metrics, serve, telemetry,
};

/// The configuration that a node's service is installed with.
const INSTALLED: &str = "/etc/sessionscope/sessionscope.toml";

fn main() -> ExitCode {
    // Who types nothing but the name wants to know what there is; a service has no terminal.
    if std::env::args_os().len() < 2 && io::stdout().is_terminal() {
        print!("{}", cli::help());
        return ExitCode::SUCCESS;
    }
    let cli = Cli::parse();
    match dispatch(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sessionscope: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

/// What the configuration is made from. Who asks about this node, and names no file, means the one of its service, if it is
/// there and may be read.
fn inputs(cli: &Cli) -> Inputs {
    let mut inputs = cli.inputs(std::env::vars_os());
    let asks = !matches!(cli.action(), Command::Run);
    if asks && inputs.file.is_none() && File::open(INSTALLED).is_ok() {
        inputs.file = Some(INSTALLED.into());
    }
    inputs
}

/// Where this node's agent is by its configuration.
fn own_agent(config: &Config) -> OwnAgent {
    let web = config.serve.web_config.as_deref();
    OwnAgent {
        listen: config.serve.listen.first().cloned(),
        speaks_tls: web.is_some_and(serve::speaks_tls),
        session_tokens: config.serve.session_tokens.clone(),
    }
}

/// What the rules of a configuration make of this node's cgroups, or of one.
fn try_rules(config: &Config, command: &RulesCommand) -> Result<(), Error> {
    let RulesCommand::Test { path, pid, format } = command;
    let facts = preflight::Facts::gather(&config.kernel);
    let mount = preflight::require_cgroup2(&facts)?.path;
    let rules = &config.discover.rules;
    let rules = Rules::new(&rules.configured, rules.builtin);
    let asked = match (path, pid) {
        (Some(path), _) => Some(trial::path_within(&mount, path)),
        (None, Some(pid)) => Some(trial::path_of_process(*pid)?),
        (None, None) => None,
    };
    let tried = match &asked {
        Some(path) => Trial::of_path(&mount, &rules, path),
        None => Trial::of_node(&mount, &rules),
    };
    let tried = tried.map_err(Error::io(format!("scan of {}", mount.display())))?;
    match format {
        CheckFormat::Text => print!("{}", tried.text(asked.is_some())),
        CheckFormat::Json => println!("{}", tried.json()),
    }
    Ok(())
}

/// Measures for as long as somebody looks.
fn standalone(config: Config, inputs: Inputs, mut options: TopOptions) -> Result<(), Error> {
    let own = own_agent(&config);
    let mut agent = Standalone::start(config, inputs)?;
    options.target.address = Some(agent.address());
    agent.wait(|| client::answers(&options.target, &own))?;
    client::top(&options, &own)
}

fn dispatch(cli: &Cli) -> Result<(), Error> {
    match cli.action() {
        Command::Metrics { format } => {
            match format {
                MetricsFormat::Table => print!("{}", metrics::reference::table()),
                MetricsFormat::Markdown => print!("{}", metrics::reference::markdown()),
                MetricsFormat::Json => println!("{:#}", metrics::reference::json()),
            }
            return Ok(());
        }
        Command::Configuration => {
            print!("{}", config::reference_markdown());
            return Ok(());
        }
        Command::Events => {
            print!("{}", telemetry::markdown());
            return Ok(());
        }
        Command::Completions { shell } => {
            print!("{}", cli::completions(shell));
            return Ok(());
        }
        Command::Report(options) => return client::report(&options),
        Command::Manual => {
            print!("{}", cli::manual());
            return Ok(());
        }
        Command::Run
        | Command::Check { .. }
        | Command::Rules { .. }
        | Command::Sessions(_)
        | Command::Top(_)
        | Command::Explain(_) => {}
    }
    let inputs = inputs(cli);
    let config = Config::load(&inputs)?;
    if cli.print_config {
        print!("{}", config.to_toml());
        return Ok(());
    }
    match cli.action() {
        Command::Sessions(options) => return client::sessions(&options, &own_agent(&config)),
        Command::Top(options) if options.standalone => return standalone(config, inputs, options),
        Command::Top(options) => return client::top(&options, &own_agent(&config)),
        Command::Explain(options) => return client::explain(&options, &own_agent(&config)),
        Command::Rules { command } => return try_rules(&config, &command),
        _ => {}
    }
    if let Command::Check { format, security } = cli.action() {
        let facts = preflight::Facts::gather(&config.kernel);
        if security {
            let node = app::node(&facts, &config);
            let report = capabilities::report(&facts, &node, config.kernel.keep_capabilities);
            match format {
                CheckFormat::Text => print!("{}", report.text()),
                CheckFormat::Json => println!("{}", report.json()),
            }
            return Ok(());
        }
        let mut findings = preflight::findings(&facts);
        findings.extend(fitness::findings(&facts, &config));
        match format {
            CheckFormat::Text => print!("{}", preflight::render_text(&findings)),
            CheckFormat::Json => println!("{}", preflight::render_json(&findings)),
        }
        preflight::require(&facts)?;
        return fitness::require(&config);
    }
    allocator::keep_little();
    let mut log = telemetry::start(&config.log)?;
    limits::raise_open_files();
    // Before the runtime has threads: each would keep the capabilities that the first one gives up.
    let start = Start::new(&config)?;
    log.write_audit()?;
    tokio::runtime::Builder::new_multi_thread()
        // For scrapes and the platforms' sources; the sampling task has the main thread, and waits for neither.
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(Error::io("tokio runtime"))?
        .block_on(app::run(config, inputs, start))
}
