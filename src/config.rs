//! The configuration of a serving node: checked once, and from then on shared by everything that the node consists of.

use crate::cpus::CpuList;
use crate::data_dir::CORES_MAX;
use crate::error::{Error, Result};
use s3::health::HealthPath;
use s3::service::Settings;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

/// The S3 port unless `--s3` says otherwise.
pub const S3_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9000);
/// The admin port unless `--admin` says otherwise.
pub const ADMIN_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9001);
/// The cluster port unless `--listen` says otherwise.
pub const LISTEN_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7946);
/// The data directory unless `--data-dir` says otherwise.
pub const DATA_DIR: &str = "hamster-data";
/// The region unless `--region` says otherwise.
pub const REGION: &str = "us-east-1";

/// The options of `serve`. The default is `serve` without flags.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the node's data is.
    pub data_dir: PathBuf,
    /// The S3 ports; none with `--no-s3`.
    pub s3: Vec<SocketAddr>,
    /// The cluster port; `None` takes the one that `init` recorded.
    pub listen: Option<SocketAddr>,
    /// The admin port.
    pub admin: SocketAddr,
    /// How S3 is served on its ports.
    pub settings: Arc<Settings>,
    /// The number of cores, if one was given.
    pub cores: Option<u16>,
    /// The CPUs to run on; `None` takes all that the process may use.
    pub cpus: Option<CpuList>,
    /// Certificate and key of the S3 port.
    pub tls: Option<TlsFiles>,
    /// The access log.
    pub access_log: AccessLog,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            data_dir: DATA_DIR.into(),
            s3: vec![S3_ADDRESS],
            listen: None,
            admin: ADMIN_ADDRESS,
            settings: Arc::new(Settings { region: REGION.to_owned(), ..Settings::default() }),
            cores: None,
            cpus: None,
            tls: None,
            access_log: AccessLog { form: LogForm::Off, file: None },
        }
    }
}

/// The PEM files of the S3 port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// The form of an access log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogForm {
    /// A line of words.
    Text,
    /// A JSON object.
    Json,
    /// No access log.
    Off,
}

/// Where the access log goes, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLog {
    /// The form of a line.
    pub form: LogForm,
    /// The file that lines are appended to; `None` is standard output.
    pub file: Option<PathBuf>,
}

/// Parses `IP:PORT` or `localhost:PORT`.
pub fn parse_address(text: &str) -> std::result::Result<SocketAddr, String> {
    let numeric = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    numeric.parse().map_err(|_| "an address is IP:PORT, such as 127.0.0.1:9000 or [::]:9000".to_owned())
}

/// Parses a number of bytes: `1000`, `500GB`, `10TiB`.
pub fn parse_bytes(text: &str) -> std::result::Result<u64, String> {
    const UNITS: [(&str, u64); 10] = [
        ("PiB", 1 << 50),
        ("TiB", 1 << 40),
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("PB", 10u64.pow(15)),
        ("TB", 10u64.pow(12)),
        ("GB", 10u64.pow(9)),
        ("MB", 10u64.pow(6)),
        ("KiB", 1 << 10),
        ("B", 1),
    ];
    let (digits, unit) =
        UNITS.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit))).unwrap_or((text, 1));
    let number: Option<u64> = digits.trim().parse().ok();
    match number.and_then(|number| number.checked_mul(unit)) {
        Some(bytes) if bytes > 0 => Ok(bytes),
        _ => Err("a size is a number above zero with an optional unit, such as 500GB or 10TiB".to_owned()),
    }
}

/// Parses the number of cores.
pub fn parse_cores(text: &str) -> std::result::Result<u16, String> {
    match text.parse() {
        Ok(cores) if (1..=CORES_MAX).contains(&cores) => Ok(cores),
        _ => Err(format!("the number of cores is 1 to {CORES_MAX}")),
    }
}

/// Checks a region: lower-case letters, digits and hyphens, as signatures carry it.
pub fn check_region(region: &str) -> Result<()> {
    let fine = (1..=64).contains(&region.len())
        && region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if fine { Ok(()) } else { Err(Error::usage("--region takes lower-case letters, digits and '-'")) }
}

/// Checks a domain and brings it to lower case.
pub fn check_domain(domain: &str) -> Result<String> {
    let domain = domain.trim_matches('.').to_ascii_lowercase();
    let label_fits = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if domain.len() <= 253 && domain.split('.').all(label_fits) {
        return Ok(domain);
    }
    Err(Error::usage("--domain takes a host name without a port, such as s3.example.com"))
}

/// Checks the path that answers health checks on the S3 port: one that could be a bucket's needs `over_bucket`.
pub fn check_health(path: &str, over_bucket: bool) -> Result<HealthPath> {
    let health = HealthPath::parse(path).map_err(|why| Error::usage(format!("--s3-health: {why}")))?;
    match health.bucket() {
        Some(bucket) if !over_bucket => Err(Error::usage(format!(
            "--s3-health {path} could be in a bucket named {}: give a path that no bucket has, such as /-/health, or add \
             --s3-health-over-bucket",
            bucket.as_str()
        ))),
        _ => Ok(health),
    }
}

/// Refuses an address that was given to two ports: the system would split the connections between them.
pub fn check_ports<'a>(ports: impl Iterator<Item = (&'a str, SocketAddr)>) -> Result<()> {
    let mut seen: Vec<(&str, SocketAddr)> = Vec::new();
    for (flag, address) in ports.filter(|(_, address)| address.port() != 0) {
        if let Some((other, _)) = seen.iter().find(|(_, taken)| *taken == address) {
            return Err(Error::usage(format!(
                "{other} and {flag} both name {address}: give each an address of its own"
            )));
        }
        seen.push((flag, address));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_take_an_ip_or_localhost_and_a_port() {
        assert_eq!(parse_address("localhost:9000").unwrap(), S3_ADDRESS);
        assert!(parse_address("[::1]:1").is_ok());
        assert!(parse_address("9000").is_err());
        assert!(parse_address("127.0.0.1:99999").is_err());
    }

    #[test]
    fn sizes_take_decimal_and_binary_units_and_never_wrap() {
        assert_eq!(parse_bytes("10TiB").unwrap(), 10 << 40);
        assert_eq!(parse_bytes("500 GB").unwrap(), 500_000_000_000);
        assert_eq!(parse_bytes("7").unwrap(), 7);
        for bad in ["", "0", "-1", "1.5GB", "TiB", "99999999999PiB"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_health_path_that_could_be_a_buckets_has_to_be_asked_for() {
        assert!(check_health("/-/health", false).is_ok());
        let line = check_health("/health", false).unwrap_err().to_string();
        assert!(line.contains("bucket named health") && line.contains("--s3-health-over-bucket"), "{line}");
        assert!(check_health("/health", true).is_ok());
        assert!(check_health("health", true).is_err());
    }

    #[test]
    fn two_ports_never_share_an_address() {
        let [one, two]: [SocketAddr; 2] = ["127.0.0.1:1", "[::1]:1"].map(|address| address.parse().unwrap());
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        assert!(
            check_ports([("--s3", one), ("--s3", two), ("--admin", any), ("--listen", any)].into_iter())
                .is_ok()
        );
        let line = check_ports([("--s3", one), ("--s3", two), ("--admin", one)].into_iter()).unwrap_err();
        assert!(line.to_string().contains("--s3 and --admin both name 127.0.0.1:1"), "{line}");
    }

    #[test]
    fn domains_and_regions_are_checked() {
        assert_eq!(check_domain("S3.Example.com.").unwrap(), "s3.example.com");
        for bad in ["", "a..b", "-a.b", "a b", "a:9000"] {
            assert!(check_domain(bad).is_err(), "{bad}");
        }
        assert!(check_region("eu-1").is_ok());
        assert!(check_region("EU").is_err());
        assert!(parse_cores("0").is_err() && parse_cores("257").is_err() && parse_cores("8").is_ok());
    }
}
