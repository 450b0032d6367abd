//! TLS, as the web configuration wants it, by rustls.

use std::{
    net::IpAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use sha2::{Digest as _, Sha256};
use tokio_rustls::rustls::{
    self, CertificateError, DigitallySignedStruct, DistinguishedName, NamedGroup, RootCertStore,
    ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{
        CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature,
        verify_tls13_signature,
    },
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject},
    server::{
        NoServerSessionStorage, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    version,
};
use x509_parser::{extensions::GeneralName, parse_x509_certificate};

use super::web::{ClientAuth, Tls};
use crate::setting::regular;

/// TLS that is in effect.
pub(super) struct Shut {
    /// What connections are accepted with.
    pub(super) config: Arc<ServerConfig>,
    /// Whether clients are asked for a certificate.
    pub(super) asks_clients: bool,
    /// A digest of what clients are let in by.
    pub(super) admission: [u8; 32],
    /// When each certificate of the files expires, by what the file is called.
    pub(super) expiries: Vec<(String, SystemTime)>,
}

/// TLS by these keys; an error names the key, or the file.
pub(super) fn shut(tls: &Tls) -> Result<Shut, String> {
    let (chain_name, chain) = content("cert", tls.cert.as_ref(), tls.cert_file.as_ref())?
        .ok_or("tls_server_config: cert or cert_file is missing")?;
    let (key_name, key) = content("key", tls.key.as_ref(), tls.key_file.as_ref())?
        .ok_or("tls_server_config: key or key_file is missing")?;
    let chain_of = certificates(&chain_name, &chain)?;
    let key = PrivateKeyDer::from_pem_slice(&key)
        .map_err(|error| format!("{key_name}: no private key in PEM: {error}"))?;
    let mut expiries = vec![(chain_name.clone(), expiry(&chain_name, &chain_of)?)];
    let provider = Arc::new(provider(tls)?);
    let versions = versions(tls)?;
    let auth = tls.client_auth_type.unwrap_or_default();
    let authorities = content(
        "client_ca",
        tls.client_ca.as_ref(),
        tls.client_ca_file.as_ref(),
    )?;
    if authorities.is_some() && auth == ClientAuth::NoClientCert {
        return Err(
            "tls_server_config: client_ca is set, and client_auth_type asks no client".to_owned(),
        );
    }
    let admission = admission(
        auth,
        authorities.as_ref(),
        tls.client_allowed_sans.as_deref(),
    );
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions)
        .map_err(|error| format!("tls_server_config: {error}"))?;
    let builder = match auth {
        ClientAuth::NoClientCert => {
            if tls.client_allowed_sans.is_some() {
                return Err(SANS_NEED_CERTIFICATES.to_owned());
            }
            builder.with_no_client_auth()
        }
        auth => {
            let authorities = authorities
                .map(|(name, text)| {
                    let all = certificates(&name, &text)?;
                    expiries.push((name.clone(), expiry(&name, &all)?));
                    roots(&name, all)
                })
                .transpose()?;
            let clients = Clients::new(auth, authorities, tls, &provider)?;
            builder.with_client_cert_verifier(Arc::new(clients))
        }
    };
    let mut config = builder
        .with_single_cert(chain_of, key)
        .map_err(|error| format!("{chain_name} and {key_name}: {error}"))?;
    if auth != ClientAuth::NoClientCert {
        // A session that is taken up again is not verified again, and its certificate may have ended.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ignore_client_order = tls.prefer_server_cipher_suites.unwrap_or(true);
    Ok(Shut {
        config: Arc::new(config),
        asks_clients: auth != ClientAuth::NoClientCert,
        admission,
        expiries,
    })
}

fn admission(
    auth: ClientAuth,
    authorities: Option<&(String, Vec<u8>)>,
    names: Option<&[String]>,
) -> [u8; 32] {
    let authorities = authorities.map(|(_, text)| text);
    let whole = format!("{auth:?} {authorities:?} {names:?}");
    Sha256::digest(whole).into()
}

const SANS_NEED_CERTIFICATES: &str = "tls_server_config: client_allowed_sans needs client_auth_type \
     RequireAnyClientCert or RequireAndVerifyClientCert";

/// What is in a file, or in the configuration itself, with what messages call it; a file comes first.
fn content(
    key: &str,
    text: Option<&String>,
    file: Option<&PathBuf>,
) -> Result<Option<(String, Vec<u8>)>, String> {
    match (file, text) {
        (Some(path), _) => {
            let name = path.display().to_string();
            let read =
                regular::read(path).map_err(|error| format!("{key}_file {name}: {error}"))?;
            Ok(Some((name, read)))
        }
        (None, Some(text)) => Ok(Some((
            format!("tls_server_config: {key}"),
            text.clone().into_bytes(),
        ))),
        (None, None) => Ok(None),
    }
}

fn certificates(name: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("{name}: no certificates in PEM: {error}"))?;
    if all.is_empty() {
        return Err(format!("{name}: no certificate in PEM"));
    }
    Ok(all)
}

/// When the first of some certificates to expire does.
fn expiry(name: &str, all: &[CertificateDer<'_>]) -> Result<SystemTime, String> {
    let mut first = None::<i64>;
    for one in all {
        let (_, parsed) =
            parse_x509_certificate(one).map_err(|error| format!("{name}: {error}"))?;
        let at = parsed.validity().not_after.timestamp();
        first = Some(first.map_or(at, |first| first.min(at)));
    }
    let since = Duration::from_secs(first.unwrap_or_default().try_into().unwrap_or_default());
    Ok(UNIX_EPOCH + since)
}

fn roots(name: &str, all: Vec<CertificateDer<'static>>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for one in all {
        roots.add(one).map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(roots)
}

/// The wanted suites and curves of those that rustls has.
fn provider(tls: &Tls) -> Result<CryptoProvider, String> {
    let mut provider = ring::default_provider();
    if !tls.cipher_suites.is_empty() {
        // Those of TLS 1.3 are not chosen (Go's crypto/tls does not either); their names are Go's.
        let is_of_1_3 = |suite: &rustls::SupportedCipherSuite| {
            suite.version().version == rustls::ProtocolVersion::TLSv1_3
        };
        let name = |suite: &rustls::SupportedCipherSuite| {
            let name = suite.suite().as_str().unwrap_or_default().to_owned();
            name.replace("TLS13_", "TLS_")
        };
        let known: Vec<String> = provider.cipher_suites.iter().map(name).collect();
        for wanted in &tls.cipher_suites {
            if !known.contains(wanted) {
                return Err(format!(
                    "tls_server_config: cipher_suites: {wanted} is not to be had here; there are {}",
                    known.join(", ")
                ));
            }
        }
        provider
            .cipher_suites
            .retain(|suite| is_of_1_3(suite) || tls.cipher_suites.contains(&name(suite)));
    }
    if !tls.curve_preferences.is_empty() {
        let wanted = tls.curve_preferences.iter().map(|curve| {
            let group = CURVES.iter().find(|(name, _)| name == curve);
            let group = group.and_then(|(_, group)| {
                provider.kx_groups.iter().find(|one| one.name() == *group)
            });
            group.copied().ok_or_else(|| {
                format!(
                    "tls_server_config: curve_preferences: {curve} is not to be had here; there are {}",
                    CURVES.map(|(name, _)| name).join(", ")
                )
            })
        });
        let wanted: Result<Vec<_>, _> = wanted.collect();
        provider.kx_groups = wanted?;
    }
    Ok(provider)
}

/// The curves of rustls by the names of the format.
const CURVES: [(&str, NamedGroup); 3] = [
    ("X25519", NamedGroup::X25519),
    ("CurveP256", NamedGroup::secp256r1),
    ("CurveP384", NamedGroup::secp384r1),
];

/// The versions of rustls by the names of the format.
const VERSIONS: [(&str, &rustls::SupportedProtocolVersion); 2] =
    [("TLS12", &version::TLS12), ("TLS13", &version::TLS13)];

fn versions(tls: &Tls) -> Result<Vec<&'static rustls::SupportedProtocolVersion>, String> {
    let place = |key: &str, wanted: Option<&String>, default| {
        let Some(wanted) = wanted else {
            return Ok(default);
        };
        let place = VERSIONS.iter().position(|(name, _)| name == wanted);
        place.ok_or_else(|| {
            let names = VERSIONS.map(|(name, _)| name).join(", ");
            format!("tls_server_config: {key}: {wanted} is not to be had here; there are {names}")
        })
    };
    let least = place("min_version", tls.min_version.as_ref(), 0)?;
    let most = place("max_version", tls.max_version.as_ref(), VERSIONS.len() - 1)?;
    if least > most {
        return Err("tls_server_config: min_version is above max_version".to_owned());
    }
    Ok(VERSIONS[least..=most].iter().map(|(_, one)| *one).collect())
}

/// What clients' certificates must be.
#[derive(Debug)]
struct Clients {
    /// Who must have issued them; `None` for anybody.
    issued: Option<Arc<dyn ClientCertVerifier>>,
    /// Whether there must be one.
    is_mandatory: bool,
    /// One of these must be among its alternative names.
    sans: Option<Vec<String>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Clients {
    fn new(
        auth: ClientAuth,
        authorities: Option<RootCertStore>,
        tls: &Tls,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let verifies = matches!(
            auth,
            ClientAuth::VerifyClientCertIfGiven | ClientAuth::RequireAndVerifyClientCert
        );
        let is_mandatory = matches!(
            auth,
            ClientAuth::RequireAnyClientCert | ClientAuth::RequireAndVerifyClientCert
        );
        if tls.client_allowed_sans.is_some() && !is_mandatory {
            return Err(SANS_NEED_CERTIFICATES.to_owned());
        }
        let issued = if verifies {
            let roots = authorities.ok_or(
                "tls_server_config: client_ca_file is missing: by it clients' certificates are verified",
            )?;
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
                    .allow_unauthenticated()
                    .build();
            Some(verifier.map_err(|error| format!("tls_server_config: client_ca: {error}"))?)
        } else {
            None
        };
        Ok(Self {
            issued,
            is_mandatory,
            sans: tls.client_allowed_sans.clone(),
            algorithms: provider.signature_verification_algorithms,
        })
    }
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        self.is_mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        match &self.issued {
            Some(issued) => issued.root_hint_subjects(),
            None => &[],
        }
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        if let Some(issued) = &self.issued {
            issued.verify_client_cert(end_entity, intermediates, now)?;
        }
        if let Some(allowed) = &self.sans {
            let has = alternative_names(end_entity).map_err(|()| CertificateError::BadEncoding)?;
            if !has.iter().any(|name| allowed.contains(name)) {
                return Err(CertificateError::ApplicationVerificationFailure.into());
            }
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// A certificate's alternative names, as Go prints them: names, mail addresses, IP addresses and URIs.
fn alternative_names(certificate: &CertificateDer<'_>) -> Result<Vec<String>, ()> {
    let (_, parsed) = parse_x509_certificate(certificate).map_err(|_| ())?;
    let Some(names) = parsed.subject_alternative_name().map_err(|_| ())? else {
        return Ok(Vec::new());
    };
    let names = names.value.general_names.iter();
    Ok(names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => {
                Some((*name).to_owned())
            }
            GeneralName::IPAddress(bytes) => {
                let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
                let v6 = <[u8; 16]>::try_from(*bytes).map(IpAddr::from);
                v4.or(v6).ok().map(|address| address.to_string())
            }
            _ => None,
        })
        .collect())
}
