//! The agent's binary: parses, dispatches, and turns an error into an exit code.

use std::process::ExitCode;

use clap::Parser;
use sessionscope::{
    allocator,
    app::{self, Start},
    cli::{self, CheckFormat, Cli, Command, MetricsFormat},
    client::{self, OwnAgent},
    config::{self, Config},
    error::Error,
    kernel::{capabilities, preflight},
    limits, metrics, serve, telemetry,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sessionscope: {error}");
            ExitCode::from(error.exit_code())
        }
    }
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
        Command::Manual => {
            print!("{}", cli::manual());
            return Ok(());
        }
        Command::Run | Command::Check { .. } | Command::Sessions(_) | Command::Explain(_) => {}
    }
    let inputs = cli.inputs(std::env::vars_os());
    let config = Config::load(&inputs)?;
    if cli.print_config {
        print!("{}", config.to_toml());
        return Ok(());
    }
    match cli.action() {
        Command::Sessions(options) => return client::sessions(&options, &own_agent(&config)),
        Command::Explain(options) => return client::explain(&options, &own_agent(&config)),
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
        let findings = preflight::findings(&facts);
        match format {
            CheckFormat::Text => print!("{}", preflight::render_text(&findings)),
            CheckFormat::Json => println!("{}", preflight::render_json(&findings)),
        }
        return preflight::require(&facts).map(drop);
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
