//! `hamster quickstart`: founds and serves a one-node cluster, and prints lines to paste.
//!
//! A second run keeps the credential and the data.

use super::{Out, init, serve};
use crate::config::{self, Config};
use crate::credentials::{self, Credentials};
use crate::data_dir::{Addresses, DataDir};
use crate::error::{Error, Result};
use crate::{identity, node, startup};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The bucket that is created.
const BUCKET: &str = "first-bucket";

pub use serve::Flags;

/// Founds the cluster if there is none, and serves.
pub fn run(flags: Flags, _out: Out<'_>) -> Result<()> {
    let config = serve::config(flags)?;
    if config.s3.is_empty() {
        return Err(Error::usage("quickstart shows the S3 port: leave --no-s3 out, or run `hamster serve`"));
    }
    let data = DataDir::lock(&config.data_dir)?;
    if !identity::exists(data.path()) {
        let listen = config.listen.unwrap_or(config::LISTEN_ADDRESS);
        identity::init(&data, &init::default_founding(listen))?;
    }
    let credentials = match credentials::from_environment(serve::environment)? {
        Some(credentials) => credentials,
        None => credentials::quickstart(data.path())?,
    };
    let (shown, region) = (credentials.clone(), config.settings.region.clone());
    let encrypted = config.tls.is_some();
    let ready = Box::new(move |addresses: &Addresses| {
        if let Some(address) = addresses.s3.first() {
            // The one place that shows the secret, to the person who asked for it.
            let _ = write!(std::io::stdout(), "{}", instructions(*address, encrypted, &region, &shown));
        }
    });
    serve_with_bucket(config, data, credentials, ready)
}

fn serve_with_bucket(
    config: Config,
    data: DataDir,
    credentials: Credentials,
    ready: Box<dyn FnOnce(&Addresses) + Send>,
) -> Result<()> {
    node::run(startup::prepare(config, data, Some(credentials), Some(BUCKET.to_owned()), ready)?)
}

/// Export lines for a shell, then commands to try. All of it can be pasted as it is.
fn instructions(address: SocketAddr, encrypted: bool, region: &str, credentials: &Credentials) -> String {
    let scheme = if encrypted { "https" } else { "http" };
    let endpoint = dialled(address);
    format!(
        "\
# Hamster serves S3 on {scheme}://{endpoint}. In another terminal, paste:

export AWS_ACCESS_KEY_ID={id}
export AWS_SECRET_ACCESS_KEY={secret}
export AWS_ENDPOINT_URL={scheme}://{endpoint}
export AWS_REGION={region}
export AWS_DEFAULT_REGION={region}

# and try:

aws s3 cp /etc/os-release s3://{BUCKET}/hello.txt
aws s3 ls s3://{BUCKET}/
aws s3 cp s3://{BUCKET}/hello.txt -

# Ctrl-C stops it; the same command starts it again with the same data and credential.
",
        id = credentials.access_key_id,
        secret = credentials.secret_access_key.as_str(),
    )
}

/// An address that a client on this machine can dial.
fn dialled(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        return SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port());
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;
    use zeroize::Zeroizing;

    #[test]
    fn what_is_printed_can_be_pasted_into_a_shell() {
        let credentials = Credentials::new("AKEY", Zeroizing::new("secret-secret".into())).unwrap();
        let text = instructions("0.0.0.0:9000".parse().unwrap(), false, "us-east-1", &credentials);
        for line in [
            "export AWS_ACCESS_KEY_ID=AKEY",
            "export AWS_SECRET_ACCESS_KEY=secret-secret",
            "export AWS_ENDPOINT_URL=http://127.0.0.1:9000",
            "export AWS_REGION=us-east-1",
            "export AWS_DEFAULT_REGION=us-east-1",
        ] {
            assert!(text.lines().any(|printed| printed == line), "{line} is not in\n{text}");
        }
        let plain = |line: &str| ["#", "export ", "aws "].iter().any(|start| line.starts_with(start));
        assert!(text.lines().all(|line| line.is_empty() || plain(line)), "{text}");
    }
}
