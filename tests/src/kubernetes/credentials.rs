//! What a pod gets to reach the API server: a token and the authority of its certificate, in a folder.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio_rustls::rustls::{
    ServerConfig,
    crypto::ring::default_provider,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

/// The token that the server wants.
pub const TOKEN: &str = "a-token-of-the-tests";

/// A folder as a pod has it, and the server's side of it.
#[derive(Debug)]
pub struct Credentials {
    folder: TempDir,
    pub(super) tls: Arc<ServerConfig>,
}

impl Credentials {
    /// New ones, for a server on the loopback address.
    pub fn new() -> Self {
        let authority_key = KeyPair::generate().expect("a key can be made");
        let mut authority = CertificateParams::new(Vec::new()).expect("no names are names");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = authority
            .self_signed(&authority_key)
            .expect("a certificate can be made");
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let write = |name: &str, text: &str| {
            fs::write(folder.path().join(name), text).expect("a file can be written");
        };
        write("ca.crt", &certificate.pem());
        write("token", TOKEN);
        write("namespace", "sessionscope");

        let key = KeyPair::generate().expect("a key can be made");
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let server = CertificateParams::new(names).expect("an address is a name");
        let issuer = Issuer::from_params(&authority, &authority_key);
        let server = server
            .signed_by(&key, &issuer)
            .expect("a certificate can be signed");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let tls = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has them")
            .with_no_client_auth()
            .with_single_cert(vec![server.der().clone()], key)
            .expect("the key is the certificate's");
        Self {
            folder,
            tls: Arc::new(tls),
        }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A kubeconfig with them for a server, in the folder.
    pub fn kubeconfig(&self, port: u16) -> PathBuf {
        let folder = self.folder().display();
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: tests\n\
             clusters:\n- name: tests\n  cluster:\n    server: https://127.0.0.1:{port}\n    \
             certificate-authority: {folder}/ca.crt\n\
             users:\n- name: tests\n  user:\n    token: {TOKEN}\n\
             contexts:\n- name: tests\n  context:\n    cluster: tests\n    user: tests\n"
        );
        let path = self.folder().join("kubeconfig");
        fs::write(&path, text).expect("a file can be written");
        path
    }
}

impl Default for Credentials {
    fn default() -> Self {
        Self::new()
    }
}
