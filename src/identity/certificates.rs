//! The cluster's certificate authority and the certificates it signs: Ed25519, made by `init`.
//!
//! A certificate names its node by id (as a DNS name), so that a peer proves to be the intended node at whatever
//! address it was dialled. Certificates outlive any machine: nothing renews them, and a cluster that stops on a date,
//! or because a clock is wrong, helps nobody. Trust is revoked by removing a node and by rotating the authority.

use super::{CA_CERTIFICATE, CA_KEY, NODE, NODE_CERTIFICATE, NODE_KEY, NodeRecord, unfit};
use crate::error::{Error, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ED25519, SanType, date_time_ymd,
};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// A time at which all certificates are valid, seconds since 1970.
const WITHIN_VALIDITY: u64 = 1_800_000_000;

/// What `init` generates, as PEM text.
pub struct Minted {
    /// The authority's certificate, which every node trusts.
    pub ca_certificate: String,
    /// The authority's key, which signs new nodes' certificates.
    pub ca_key: Zeroizing<String>,
    /// This node's certificate.
    pub node_certificate: String,
    /// This node's key.
    pub node_key: Zeroizing<String>,
}

/// Generates the authority of a new cluster and the first node's certificate.
pub fn mint(record: &NodeRecord) -> Result<Minted> {
    let ca_pair = key_pair()?;
    let ca_params = ca_params(record);
    let ca = ca_params.self_signed(&ca_pair).map_err(|error| unmade(&error))?;
    let ca_key = Zeroizing::new(ca_pair.serialize_pem());
    let issuer = Issuer::new(ca_params, ca_pair);

    let node_pair = key_pair()?;
    let node = node_params(record)?.signed_by(&node_pair, &issuer).map_err(|error| unmade(&error))?;
    Ok(Minted {
        ca_certificate: ca.pem(),
        ca_key,
        node_certificate: node.pem(),
        node_key: Zeroizing::new(node_pair.serialize_pem()),
    })
}

/// Checks that the files of an identity are intact and belong together, whatever the machine's clock says.
pub fn check(record: &NodeRecord, pem: &Minted) -> Result<()> {
    let provider = Arc::new(ring::default_provider());
    let authority = pair((CA_CERTIFICATE, &pem.ca_certificate), (CA_KEY, &pem.ca_key), &provider)?;
    let node = pair((NODE_CERTIFICATE, &pem.node_certificate), (NODE_KEY, &pem.node_key), &provider)?;
    let mut roots = RootCertStore::empty();
    roots.add(authority).map_err(|error| unfit(CA_CERTIFICATE, &error))?;
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| unfit(CA_CERTIFICATE, &error))?;
    let name = ServerName::try_from(record.node_id().to_string()).map_err(|error| unfit(NODE, &error))?;
    let then = UnixTime::since_unix_epoch(Duration::from_secs(WITHIN_VALIDITY));
    verifier
        .verify_server_cert(&node, &[], &name, &[], then)
        .map(drop)
        .map_err(|error| unfit(NODE_CERTIFICATE, &error))
}

/// Checks that a key belongs to a certificate.
fn pair(
    (certificate_file, certificate): (&str, &str),
    (key_file, key): (&str, &str),
    provider: &CryptoProvider,
) -> Result<CertificateDer<'static>> {
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes())
        .map_err(|error| unfit(certificate_file, &error))?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| unfit(key_file, &error))?;
    CertifiedKey::from_der(vec![certificate.clone()], key, provider)
        .map_err(|error| unfit(key_file, &error))?;
    Ok(certificate)
}

fn ca_params(record: &NodeRecord) -> CertificateParams {
    let mut params = CertificateParams::default();
    // rcgen's default marks the name as a test; start from an empty one.
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("hamster cluster {}", record.cluster_id()));
    // It may sign end-entity certificates and no intermediate authorities.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_validity(&mut params);
    params
}

fn node_params(record: &NodeRecord) -> Result<CertificateParams> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, record.node_id().to_string());
    params.subject_alt_names = subject_names(record)?;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    // Every node is client and server.
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    set_validity(&mut params);
    Ok(params)
}

fn subject_names(record: &NodeRecord) -> Result<Vec<SanType>> {
    let dns = |name: String| name.try_into().map(SanType::DnsName).map_err(|error| unmade(&error));
    let mut names = vec![
        dns(record.node_id().to_string())?,
        dns("localhost".to_owned())?,
        SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        SanType::IpAddress(IpAddr::V6(Ipv6Addr::LOCALHOST)),
    ];
    if let Ok(address) = record.listen.parse::<SocketAddr>()
        && !address.ip().is_unspecified()
        && !address.ip().is_loopback()
    {
        names.push(SanType::IpAddress(address.ip()));
    }
    Ok(names)
}

fn key_pair() -> Result<KeyPair> {
    KeyPair::generate_for(&PKCS_ED25519).map_err(|error| unmade(&error))
}

/// A hundred years that begin before the first release, so that no correct clock is earlier.
fn set_validity(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2025, 1, 1);
    params.not_after = date_time_ymd(2125, 1, 1);
}

fn unmade(error: &rcgen::Error) -> Error {
    Error::failed(format!("cannot make a certificate: {error}"))
}
