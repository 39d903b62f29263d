//! `hamster serve`: runs a node until SIGTERM.

use super::{Out, say};
use crate::config::{self, AccessLog, Config, LogForm, TlsFiles, parse_address, parse_cores};
use crate::cpus::{self, CpuList};
use crate::credentials;
use crate::data_dir::{Addresses, DataDir};
use crate::error::{Error, Result};
use crate::{identity, node, startup};
use s3::proxies::{Cidr, Proxies};
use s3::service::Settings;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// The flags of `serve`.
#[derive(clap::Args)]
pub struct Flags {
    /// The data directory
    #[arg(long, value_name = "DIR", default_value = config::DATA_DIR)]
    pub data_dir: PathBuf,
    /// The address of the S3 port; may be repeated, as for IPv4 and IPv6
    #[arg(long, value_name = "IP:PORT", default_values_t = [config::S3_ADDRESS], value_parser = parse_address)]
    s3: Vec<SocketAddr>,
    /// Do not serve S3
    #[arg(long, conflicts_with_all = ["s3", "s3_health", "trust_proxy", "tls_cert", "tls_key"])]
    no_s3: bool,
    /// Answer health checks without a signature at PATH/live and PATH/ready of the S3 port
    #[arg(long, value_name = "PATH")]
    s3_health: Option<String>,
    /// Allow an --s3-health PATH that could be in a bucket; signed requests still reach the bucket
    #[arg(long, requires = "s3_health")]
    s3_health_over_bucket: bool,
    /// Take the client's address from proxies in this network: X-Forwarded-For, PROXY protocol; may be repeated
    #[arg(long, value_name = "CIDR", value_parser = str::parse::<Cidr>)]
    trust_proxy: Vec<Cidr>,
    /// The address of the cluster port [default: the one recorded by init]
    #[arg(long, value_name = "IP:PORT", value_parser = parse_address)]
    pub listen: Option<SocketAddr>,
    /// The address of the admin port: metrics and health checks
    #[arg(long, value_name = "IP:PORT", default_value_t = config::ADMIN_ADDRESS, value_parser = parse_address)]
    admin: SocketAddr,
    /// The region that clients sign for
    #[arg(long, value_name = "NAME", default_value = config::REGION)]
    region: String,
    /// Accept bucket names as the first label of hosts below this domain; may be repeated
    #[arg(long, value_name = "DOMAIN")]
    domain: Vec<String>,
    /// The number of cores, fixed at the first start; may exceed the number of CPUs [default: one per CPU]
    #[arg(long, value_name = "N", value_parser = parse_cores)]
    cores: Option<u16>,
    /// The CPUs to run on, such as 0-3,8; core I is pinned to the I-th of them [default: all that are allowed]
    #[arg(long, value_name = "LIST", value_parser = cpus::parse)]
    cpus: Option<CpuList>,
    /// The certificate chain of the S3 port (PEM); reloaded when it changes
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The private key of the S3 port (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// The format of the access log
    #[arg(long, value_name = "FORM", default_value = "off")]
    access_log: LogForm,
    /// Append the access log to this file [default: standard output]
    #[arg(long, value_name = "FILE")]
    access_log_file: Option<PathBuf>,
}

/// Runs the node.
pub fn run(flags: Flags, out: Out<'_>) -> Result<()> {
    let config = config(flags)?;
    let credentials = credentials::from_environment(environment)?;
    if !config.s3.is_empty() && credentials.is_none() {
        return Err(credentials::missing());
    }
    // Before taking the lock, which would create the directory.
    if !identity::exists(&config.data_dir) {
        identity::load(&config.data_dir)?;
    }
    let data = DataDir::lock(&config.data_dir)?;
    let ready = Box::new(|addresses: &Addresses| {
        let _ = writeln!(std::io::stdout(), "{}", announcement(addresses));
    });
    say(out, format_args!("hamster {} starts on {}", env!("CARGO_PKG_VERSION"), data.path().display()))?;
    node::run(startup::prepare(config, data, credentials, None, ready)?)
}

/// Checks the flags of `serve` and `quickstart`.
pub fn config(flags: Flags) -> Result<Config> {
    config::check_region(&flags.region)?;
    let domains =
        flags.domain.iter().map(|domain| config::check_domain(domain)).collect::<Result<Vec<_>>>()?;
    if flags.access_log == LogForm::Off && flags.access_log_file.is_some() {
        return Err(Error::usage("--access-log-file needs --access-log text or --access-log json"));
    }
    let health = flags.s3_health.as_deref();
    let health = health.map(|path| config::check_health(path, flags.s3_health_over_bucket)).transpose()?;
    let s3 = if flags.no_s3 { Vec::new() } else { flags.s3 };
    let ports = s3.iter().map(|address| ("--s3", *address));
    let ports = ports.chain([("--admin", flags.admin)]);
    config::check_ports(ports.chain(flags.listen.map(|address| ("--listen", address))))?;
    let proxies = Proxies::new(flags.trust_proxy);
    Ok(Config {
        data_dir: flags.data_dir,
        s3,
        listen: flags.listen,
        admin: flags.admin,
        settings: Arc::new(Settings { region: flags.region, domains, proxies, health }),
        cores: flags.cores,
        cpus: flags.cpus,
        tls: flags.tls_cert.zip(flags.tls_key).map(|(certificate, key)| TlsFiles { certificate, key }),
        access_log: AccessLog { form: flags.access_log, file: flags.access_log_file },
    })
}

/// Looks up a variable; an empty one counts as unset, since unit files can't unset variables.
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn announcement(addresses: &Addresses) -> String {
    let s3 = match addresses.s3.as_slice() {
        [] => "off".to_owned(),
        s3 => s3.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(" "),
    };
    format!("ready: s3 {s3}, cluster {}, admin {}", addresses.listen, addresses.admin)
}
