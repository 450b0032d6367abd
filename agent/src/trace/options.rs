//! What the settings and OpenTelemetry's own variables come to. A key of the configuration goes before a variable, and a
//! variable of traces before the one of all signals
//! (opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables).

use std::{fs, path::PathBuf, time::Duration};

use opentelemetry::KeyValue;
use percent_encoding::percent_decode_str;

use super::settings::{self, Protocol, Settings, WHOLE};
use crate::named::Named;

/// How traces are made and where they go.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Options {
    /// The whole URL.
    pub(super) endpoint: String,
    pub(super) protocol: Protocol,
    /// How long a collector may take for a request.
    pub(super) timeout: Duration,
    /// A file with the certificates of those that a collector may have its own from; `None` for the system's.
    pub(super) certificate: Option<PathBuf>,
    /// In the unit of [`Settings::ratio`].
    pub(super) ratio: u32,
    pub(super) spans_a_second: u32,
    pub(super) run_queue_wait: Duration,
    /// What every span is of.
    pub(super) resource: Vec<KeyValue>,
}

/// How long a collector may take where nothing says it.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Where a collector takes traces over HTTP, below its endpoint.
const PATH: &str = "/v1/traces";

impl Options {
    /// Whether the collector is spoken to by TLS.
    pub(super) fn speaks_tls(&self) -> bool {
        self.endpoint.starts_with("https://")
    }

    /// `None` where there are to be no traces.
    ///
    /// # Errors
    ///
    /// Names the variable that is wrong.
    pub(super) fn resolve(
        settings: &Settings,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, String> {
        // One that is empty counts as not set.
        let variable = |name: &str| variable(name).filter(|text| !text.trim().is_empty());
        let is_off = variable("OTEL_SDK_DISABLED")
            .is_some_and(|text| text.trim().eq_ignore_ascii_case("true"))
            || variable("OTEL_TRACES_EXPORTER").is_some_and(|text| text.trim() == "none");
        // Whatever it is called, whoever has decided about the parent has decided.
        let sampler = variable("OTEL_TRACES_SAMPLER");
        let has_ratio = match sampler.as_deref().map(str::trim) {
            None | Some("traceidratio" | "parentbased_traceidratio") => true,
            Some("always_on" | "parentbased_always_on") => false,
            Some("always_off" | "parentbased_always_off") => return Ok(None),
            Some(other) => {
                return Err(format!(
                    "OTEL_TRACES_SAMPLER: expected always_on, always_off or traceidratio, with or without \
                     parentbased_ before it, found \"{other}\""
                ));
            }
        };
        if is_off {
            return Ok(None);
        }
        let first = |names: &[&'static str]| {
            let mut all = names.iter().map(|name| (*name, variable(name)));
            all.find_map(|(name, text)| Some((name, text?)))
        };
        let named = |name: &'static str| move |error: String| format!("{name}: {error}");
        let protocol = match (
            settings.protocol,
            first(&[
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
                "OTEL_EXPORTER_OTLP_PROTOCOL",
            ]),
        ) {
            (Some(protocol), _) => protocol,
            (None, Some((name, text))) => Protocol::named(text.trim()).ok_or_else(|| {
                format!(
                    "{name}: expected {}, found \"{text}\"",
                    Protocol::NAMES.join(" or ")
                )
            })?,
            (None, None) => Protocol::Grpc,
        };
        let below = |endpoint: &str| match protocol {
            Protocol::Grpc => endpoint.to_owned(),
            Protocol::Http => format!("{}{PATH}", endpoint.trim_end_matches('/')),
        };
        let endpoint = if let Some(endpoint) = &settings.endpoint {
            below(endpoint)
        } else if let Some(whole) = variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") {
            settings::endpoint(&whole).map_err(named("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"))?
        } else if let Some(base) = variable("OTEL_EXPORTER_OTLP_ENDPOINT") {
            below(&settings::endpoint(&base).map_err(named("OTEL_EXPORTER_OTLP_ENDPOINT"))?)
        } else {
            return Ok(None);
        };
        let ratio = match (
            settings.ratio,
            first(&["OTEL_TRACES_SAMPLER_ARG", "OTEL_SAMPLING_RATE"]),
        ) {
            (Some(ratio), _) => ratio,
            (None, Some((name, text))) if has_ratio => {
                settings::ratio(&text).map_err(named(name))?
            }
            (None, _) => WHOLE,
        };
        let timeout = match first(&[
            "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
            "OTEL_EXPORTER_OTLP_TIMEOUT",
        ]) {
            None => TIMEOUT,
            Some((name, text)) => {
                let milliseconds = text.trim().parse();
                Duration::from_millis(milliseconds.map_err(|_| {
                    format!("{name}: expected milliseconds such as 10000, found \"{text}\"")
                })?)
            }
        };
        let certificate = first(&[
            "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
            "OTEL_EXPORTER_OTLP_CERTIFICATE",
        ]);
        Ok(Some(Self {
            endpoint,
            protocol,
            timeout,
            certificate: certificate.map(|(_, path)| path.into()),
            ratio,
            spans_a_second: settings.spans_a_second,
            run_queue_wait: settings.run_queue_wait,
            resource: resource(settings, variable),
        }))
    }
}

/// What the spans are of, by the semantic conventions. What is not known is absent; `OTEL_RESOURCE_ATTRIBUTES` goes before
/// what the agent finds.
fn resource(settings: &Settings, variable: impl Fn(&str) -> Option<String>) -> Vec<KeyValue> {
    let file = |path: &str| {
        fs::read_to_string(path)
            .ok()
            .map(|text| text.trim().to_owned())
    };
    let node = variable("NODE_NAME");
    let host = node.clone().or_else(|| file("/proc/sys/kernel/hostname"));
    let machine = file("/etc/machine-id");
    let found = [
        (
            "service.name",
            variable("OTEL_SERVICE_NAME").or(Some("sessionscope".to_owned())),
        ),
        ("service.namespace", variable("POD_NAMESPACE")),
        ("service.instance.id", host.clone()),
        (
            "service.version",
            Some(env!("CARGO_PKG_VERSION").to_owned()),
        ),
        ("deployment.environment", settings.environment.clone()),
        // Its newer name.
        ("deployment.environment.name", settings.environment.clone()),
        ("host.name", host),
        ("host.id", machine),
        ("host.arch", Some(architecture().to_owned())),
        ("os.type", Some("linux".to_owned())),
        ("k8s.node.name", node),
        ("k8s.pod.name", variable("POD_NAME")),
        ("k8s.namespace.name", variable("POD_NAMESPACE")),
    ];
    let listed = variable("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    let listed: Vec<(String, String)> = listed
        .split(',')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| {
            (
                key.trim().to_owned(),
                percent_decode_str(value.trim())
                    .decode_utf8_lossy()
                    .into_owned(),
            )
        })
        .collect();
    let is_listed = |key: &str| {
        // The variable of the name goes before the list.
        (key != "service.name" || variable("OTEL_SERVICE_NAME").is_none())
            && listed.iter().any(|(listed, _)| listed == key)
    };
    let found = found
        .into_iter()
        .filter(|(key, value)| {
            !is_listed(key) && value.as_ref().is_some_and(|value| !value.is_empty())
        })
        .filter_map(|(key, value)| Some(KeyValue::new(key, value?)));
    let own: Vec<KeyValue> = found.collect();
    let more = listed
        .iter()
        .filter(|(key, _)| !own.iter().any(|one| one.key.as_str() == key))
        .map(|(key, value)| KeyValue::new(key.clone(), value.clone()))
        .collect::<Vec<_>>();
    own.into_iter().chain(more).collect()
}

/// `host.arch` by the conventions.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(settings: &Settings, variables: &[(&str, &str)]) -> Result<Option<Options>, String> {
        Options::resolve(settings, |name| {
            let found = variables.iter().find(|(one, _)| *one == name);
            found.map(|(_, text)| (*text).to_owned())
        })
    }

    fn attribute(options: &Options, key: &str) -> Option<String> {
        let found = options.resource.iter().find(|one| one.key.as_str() == key);
        found.map(|one| one.value.to_string())
    }

    #[test]
    fn without_an_endpoint_there_are_none() {
        assert_eq!(resolve(&Settings::default(), &[]), Ok(None));
        assert_eq!(
            resolve(
                &Settings::default(),
                &[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]
            ),
            Ok(None)
        );
    }

    #[test]
    fn a_key_goes_before_a_variable_and_traces_before_all_signals() {
        let all = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:4318/");
        let http = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
        let found = resolve(&Settings::default(), &[all, http])
            .unwrap()
            .unwrap();
        assert_eq!(found.endpoint, "http://all:4318/v1/traces");
        assert_eq!(found.protocol, Protocol::Http);
        // The endpoint of traces alone is taken as it is.
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:1/x");
        let found = resolve(&Settings::default(), &[all, http, own])
            .unwrap()
            .unwrap();
        assert_eq!(found.endpoint, "http://traces:1/x");
        let settings = Settings {
            endpoint: Some("http://key:4317".to_owned()),
            protocol: Some(Protocol::Grpc),
            ratio: Some(1),
            ..Settings::default()
        };
        let rate = ("OTEL_SAMPLING_RATE", "0.5");
        let found = resolve(&settings, &[all, http, own, rate])
            .unwrap()
            .unwrap();
        assert_eq!(
            (found.endpoint.as_str(), found.protocol, found.ratio),
            ("http://key:4317", Protocol::Grpc, 1)
        );
    }

    #[test]
    fn the_ratio_has_two_names_and_the_standard_one_goes_first() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:4317");
        let rate = ("OTEL_SAMPLING_RATE", "0.5");
        let found = resolve(&Settings::default(), &[endpoint, rate])
            .unwrap()
            .unwrap();
        assert_eq!(found.ratio, WHOLE / 2);
        let standard = ("OTEL_TRACES_SAMPLER_ARG", "0.25");
        let found = resolve(&Settings::default(), &[endpoint, rate, standard])
            .unwrap()
            .unwrap();
        assert_eq!(found.ratio, WHOLE / 4);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (variable, text) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector"),
            ("OTEL_TRACES_SAMPLER_ARG", "2"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
        ] {
            let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:4317");
            let error = resolve(&Settings::default(), &[(variable, text), endpoint]).unwrap_err();
            assert!(
                error.starts_with(variable) && error.contains(text),
                "{error}"
            );
        }
    }

    #[test]
    fn they_can_be_off_whatever_else_is_set() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:4317");
        for off in [
            ("OTEL_SDK_DISABLED", "TRUE"),
            ("OTEL_TRACES_EXPORTER", "none"),
            ("OTEL_TRACES_SAMPLER", "always_off"),
            ("OTEL_TRACES_SAMPLER", "parentbased_always_off"),
        ] {
            assert_eq!(
                resolve(&Settings::default(), &[endpoint, off]),
                Ok(None),
                "{off:?}"
            );
        }
    }

    #[test]
    fn what_is_listed_goes_before_what_is_found() {
        let settings = Settings {
            environment: Some("production".to_owned()),
            ..Settings::default()
        };
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:4317");
        let node = ("NODE_NAME", "node-1");
        let found = resolve(&settings, &[endpoint, node]).unwrap().unwrap();
        assert_eq!(
            attribute(&found, "service.name").as_deref(),
            Some("sessionscope")
        );
        assert_eq!(
            attribute(&found, "k8s.node.name").as_deref(),
            Some("node-1")
        );
        assert_eq!(
            attribute(&found, "deployment.environment").as_deref(),
            Some("production")
        );
        assert_eq!(attribute(&found, "k8s.pod.name"), None);
        let listed = (
            "OTEL_RESOURCE_ATTRIBUTES",
            "service.name=vdi, deployment.environment=a%20b,rack=7,nonsense",
        );
        let found = resolve(&settings, &[endpoint, node, listed])
            .unwrap()
            .unwrap();
        assert_eq!(attribute(&found, "service.name").as_deref(), Some("vdi"));
        assert_eq!(
            attribute(&found, "deployment.environment").as_deref(),
            Some("a b")
        );
        assert_eq!(attribute(&found, "rack").as_deref(), Some("7"));
        let name = ("OTEL_SERVICE_NAME", "scope");
        let found = resolve(&settings, &[endpoint, listed, name])
            .unwrap()
            .unwrap();
        assert_eq!(attribute(&found, "service.name").as_deref(), Some("scope"));
    }
}
