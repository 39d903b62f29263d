//! Health checks on the S3 port, for load balancers that can reach no other port: `PATH/live` and `PATH/ready`.
//!
//! A health check is a GET or HEAD without a signature, query or body, on a host that names no bucket. Everything else
//! under these paths is S3, so signed requests can still reach a bucket of that name.

use crate::http::head::{Method, RequestHead};
use crate::name::BucketName;
use crate::route::bucket_of_host;

/// The longest path, bytes.
const PATH_BYTES_MAX: usize = 128;

/// The path under which the S3 port answers health checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthPath(String);

/// What a health check asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// Whether the process answers.
    Live,
    /// Whether requests should be sent to it.
    Ready,
}

impl HealthPath {
    /// Checks a path: `/` and segments of unreserved characters (RFC 3986, section 2.3), which no client or proxy
    /// rewrites.
    ///
    /// # Errors
    /// A description of the form that a path must have.
    pub fn parse(path: &str) -> Result<HealthPath, String> {
        let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let fits = |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(unreserved);
        match path.strip_prefix('/') {
            Some(rest) if path.len() <= PATH_BYTES_MAX && rest.split('/').all(fits) => {
                Ok(HealthPath(path.to_owned()))
            }
            _ => Err("the path begins with '/' and has letters, digits and -._~ between its slashes, such as /-/health"
                .to_owned()),
        }
    }

    /// The bucket that the path names, if it could be one.
    pub fn bucket(&self) -> Option<BucketName> {
        BucketName::parse(self.0[1..].split('/').next()?).ok()
    }

    /// The health check that a request asks for, if it is one.
    pub fn probe(&self, head: &RequestHead, domains: &[String]) -> Option<Probe> {
        let name = head.path().strip_prefix(self.0.as_bytes())?.strip_prefix(b"/")?;
        let probe = match name {
            b"live" => Probe::Live,
            b"ready" => Probe::Ready,
            _ => return None,
        };
        let plain = matches!(head.method(), Method::Get | Method::Head)
            && head.query().raw().is_empty()
            && head.header("authorization").is_none()
            && head.content_length().unwrap_or(0) == 0
            && !head.is_chunked()
            && bucket_of_host(head.host(), domains).is_none();
        plain.then_some(probe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(path: &str, request: &str) -> Option<Probe> {
        let mut head = RequestHead::new();
        head.parse(format!("{request}\r\n\r\n").as_bytes()).unwrap().unwrap();
        HealthPath::parse(path).unwrap().probe(&head, &["s3.example.com".to_owned()])
    }

    #[test]
    fn a_path_has_only_segments_that_nothing_rewrites() {
        for good in ["/-/health", "/health", "/.well-known/hamster", "/a/b/c"] {
            assert!(HealthPath::parse(good).is_ok(), "{good}");
        }
        let long = format!("/{}", "a".repeat(PATH_BYTES_MAX));
        for bad in ["", "/", "health", "/health/", "//health", "/a/../b", "/a b", "/a%20b", "/a?b", &long] {
            assert!(HealthPath::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_path_whose_first_segment_could_be_a_bucket_names_that_bucket() {
        let bucket = |path: &str| HealthPath::parse(path).unwrap().bucket().map(BucketName::into_string);
        assert_eq!(bucket("/health"), Some("health".to_owned()));
        assert_eq!(bucket("/health/s3"), Some("health".to_owned()));
        for path in ["/-/health", "/_", "/h", "/.health", "/HEALTH/x", "/health_check"] {
            assert_eq!(HealthPath::parse(path).ok().and_then(|path| path.bucket()), None, "{path}");
        }
    }

    #[test]
    fn only_a_plain_get_or_head_of_the_two_paths_is_a_health_check() {
        let of = |target: &str| probe("/health", &format!("GET {target} HTTP/1.1\r\nHost: 10.0.0.1"));
        assert_eq!((of("/health/live"), of("/health/ready")), (Some(Probe::Live), Some(Probe::Ready)));
        assert!(probe("/health", "HEAD /health/live HTTP/1.1\r\nHost: s3.example.com").is_some());
        for other in
            ["/health", "/health/", "/health/x", "/health/live/", "/health/%6cive", "/healthy/live", "/live"]
        {
            assert_eq!(of(other), None, "{other}");
        }
        for request in [
            "GET /health/live?X-Amz-Signature=1 HTTP/1.1\r\nHost: h",
            "GET /health/live HTTP/1.1\r\nHost: h\r\nAuthorization: AWS4-HMAC-SHA256 x",
            "GET /health/live HTTP/1.1\r\nHost: h\r\nContent-Length: 5",
            "GET /health/live HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked",
            "PUT /health/live HTTP/1.1\r\nHost: h",
            "GET /health/live HTTP/1.1\r\nHost: bucket.s3.example.com",
        ] {
            assert_eq!(probe("/health", request), None, "{request}");
        }
    }
}
