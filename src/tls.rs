//! TLS: on the cluster port mutual TLS 1.3 with the cluster's own authority; on the S3 port the operator's files,
//! read again when they change.

use crate::config::TlsFiles;
use crate::error::{Error, Result, note};
use crate::files::{self, Secrecy};
use crate::identity::{Identity, unfit};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often the files of the S3 port are checked.
const RELOAD_INTERVAL: Duration = Duration::from_secs(5);

/// The server side of the cluster port: it refuses a peer without a certificate of this cluster.
pub fn cluster_server(identity: &Identity) -> Result<Arc<ServerConfig>> {
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(identity)?), provider())
        .build()
        .map_err(|error| unfit("ca.pem", &error))?;
    let (chain, key) = own_certificate(identity)?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| unfit("node.pem", &error))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|error| unfit("node.pem", &error))?;
    Ok(Arc::new(config))
}

/// The client side of the cluster port. The server name to ask for is the id of the intended node.
pub fn cluster_client(identity: &Identity) -> Result<Arc<ClientConfig>> {
    let (chain, key) = own_certificate(identity)?;
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| unfit("node.pem", &error))?
        .with_root_certificates(roots(identity)?)
        .with_client_auth_cert(chain, key)
        .map_err(|error| unfit("node.pem", &error))?;
    Ok(Arc::new(config))
}

/// TLS of the S3 port: the configuration in force, shared by the cores.
pub struct S3Tls {
    files: TlsFiles,
    current: Mutex<Loaded>,
}

struct Loaded {
    config: Arc<ServerConfig>,
    stamp: Stamp,
}

/// What shows that a file was replaced: inode, size and time of change, of both files.
type Stamp = [(u64, u64, i64, i64); 2];

impl S3Tls {
    /// Loads the files; refuses with one line if they don't fit.
    pub fn load(files: &TlsFiles) -> Result<Arc<Self>> {
        let current = Mutex::new(Loaded { stamp: stamp(files)?, config: read_s3(files)? });
        Ok(Arc::new(Self { files: files.clone(), current }))
    }

    /// The configuration for the next connection.
    pub fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.lock().config)
    }

    /// Checks the files forever, on a thread of its own, so that a mount that hangs holds up no core. Files that
    /// can't be loaded are reported once and change nothing.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn watch(self: &Arc<Self>) -> Result<()> {
        self.watch_every(RELOAD_INTERVAL)
    }

    fn watch_every(self: &Arc<Self>, interval: Duration) -> Result<()> {
        let tls = Arc::clone(self);
        let body = move || {
            let mut reported = None;
            loop {
                std::thread::park_timeout(interval);
                let failure = tls.reload().err();
                if let Some(error) = &failure
                    && reported != failure
                {
                    note(format_args!("the S3 port keeps its old certificate: {error}"));
                }
                reported = failure;
            }
        };
        engine::io::spawn_thread("tls-files", body).map(drop).map_err(|error| {
            Error::failed(format!("cannot start the thread that watches --tls-cert: {error}"))
        })
    }

    /// Loads the files again if they changed; returns whether they did.
    fn reload(&self) -> Result<bool> {
        let stamp = stamp(&self.files)?;
        if self.lock().stamp == stamp {
            return Ok(false);
        }
        // Certificate and key are replaced one after the other: in between they don't match, and the next check
        // tries again.
        let config = read_s3(&self.files)?;
        *self.lock() = Loaded { config, stamp };
        Ok(true)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Loaded> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read_s3(files: &TlsFiles) -> Result<Arc<ServerConfig>> {
    let unfit = |path: &Path, what: &str| Error::refused(format!("{}: {what}", path.display()));
    let chain = certificates(&files::read(&files.certificate, Secrecy::Public)?)
        .map_err(|_| unfit(&files.certificate, "no PEM certificate in it: give the chain to --tls-cert"))?;
    let key = zeroize::Zeroizing::new(files::read(&files.key, Secrecy::Public)?);
    let key = PrivateKeyDer::from_pem_slice(&key)
        .map_err(|_| unfit(&files.key, "no PEM private key in it: give the key to --tls-key"))?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| {
            unfit(&files.certificate, &format!("does not fit its key ({error}): give a matching pair"))
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn stamp(files: &TlsFiles) -> Result<Stamp> {
    use std::os::unix::fs::MetadataExt;
    let one = |path: &Path| {
        let meta = std::fs::metadata(path).map_err(|error| files::cannot("read", path, &error))?;
        Ok((meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()))
    };
    Ok([one(&files.certificate)?, one(&files.key)?])
}

fn roots(identity: &Identity) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in
        certificates(identity.ca_certificate.as_bytes()).map_err(|error| unfit("ca.pem", &error))?
    {
        roots.add(certificate).map_err(|error| unfit("ca.pem", &error))?;
    }
    Ok(roots)
}

fn own_certificate(identity: &Identity) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let chain =
        certificates(identity.node_certificate.as_bytes()).map_err(|error| unfit("node.pem", &error))?;
    let key = PrivateKeyDer::from_pem_slice(identity.node_key.as_bytes())
        .map_err(|error| unfit("node.key", &error))?;
    Ok((chain, key))
}

fn certificates(
    pem: &[u8],
) -> std::result::Result<Vec<CertificateDer<'static>>, rustls::pki_types::pem::Error> {
    let chain = CertificateDer::pem_slice_iter(pem).collect::<std::result::Result<Vec<_>, _>>()?;
    if chain.is_empty() { Err(rustls::pki_types::pem::Error::NoItemsFound) } else { Ok(chain) }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str) -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn changed_files_are_loaded_and_bad_ones_leave_the_old_in_force() {
        let dir = tempfile::tempdir().unwrap();
        let files = TlsFiles { certificate: dir.path().join("c"), key: dir.path().join("k") };
        let (certificate, key) = pair("one");
        std::fs::write(&files.certificate, &certificate).unwrap();
        std::fs::write(&files.key, &key).unwrap();
        let tls = S3Tls::load(&files).unwrap();
        let first = tls.current();
        assert!(!tls.reload().unwrap());

        std::fs::write(&files.certificate, "rubbish").unwrap();
        assert!(tls.reload().unwrap_err().to_string().contains("--tls-cert"));
        assert!(Arc::ptr_eq(&first, &tls.current()));

        let (certificate, key) = pair("another");
        std::fs::write(&files.certificate, &certificate).unwrap();
        std::fs::write(&files.key, &key).unwrap();
        assert!(tls.reload().unwrap());
        assert!(!Arc::ptr_eq(&first, &tls.current()));
    }

    fn eventually(what: &str, done: impl Fn() -> bool) {
        let until = engine::io::now() + Duration::from_secs(20);
        while !done() {
            assert!(engine::io::now() < until, "{what} did not happen");
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// Core 0 used to read the files. A mount that hung stopped the core, and after 30 s the watchdog ended the
    /// process.
    #[test]
    fn a_mount_that_hangs_holds_up_no_core_and_its_files_are_loaded_once_it_answers() {
        let dir = tempfile::tempdir().unwrap();
        let files = TlsFiles { certificate: dir.path().join("c"), key: dir.path().join("k") };
        let (certificate, key) = pair("one");
        std::fs::write(&files.certificate, &certificate).unwrap();
        std::fs::write(&files.key, &key).unwrap();
        let tls = S3Tls::load(&files).unwrap();
        let first = tls.current();

        // Opening a pipe that nobody writes to blocks as a hung mount does.
        let pipe = dir.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        std::fs::rename(&pipe, &files.certificate).unwrap();
        let core = Arc::clone(&tls);
        engine::io::block_on(async move {
            core.watch_every(Duration::from_millis(1)).unwrap();
            for _ in 0..50 {
                engine::io::sleep(Duration::from_millis(2)).await;
                let _ = core.current();
            }
        })
        .unwrap();
        assert!(Arc::ptr_eq(&first, &tls.current()));

        let (certificate, key) = pair("another");
        std::fs::write(&files.key, &key).unwrap();
        std::fs::write(&files.certificate, &certificate).unwrap();
        eventually("the new certificate", || !Arc::ptr_eq(&first, &tls.current()));
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let files = TlsFiles { certificate: dir.path().join("c"), key: dir.path().join("k") };
        std::fs::write(&files.certificate, pair("one").0).unwrap();
        std::fs::write(&files.key, pair("two").1).unwrap();
        assert!(S3Tls::load(&files).err().unwrap().to_string().contains("matching pair"));
    }
}
