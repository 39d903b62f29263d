//! The error type of the S3 front end, and the one table that maps it to the wire.
//!
//! A [`Code`] names what went wrong, grouped by whose fault it is. Its row in the table below gives AWS's code, the
//! HTTP status and a default message. An [`S3Error`] is a code with, where needed, a more specific message, the fields
//! that AWS adds to the body of some errors, and headers. No other code in the crate knows the status of a failure.
//!
//! Source of codes and statuses: AWS, "Error Responses", "List of Error Codes".

use crate::xml::write::Xml;

/// Who has to act to make a failure go away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The request is wrong; the same request will fail again.
    Caller,
    /// The caller is not who it claims to be, or is not allowed to do this.
    Identity,
    /// What the request names does not exist.
    NotFound,
    /// The request conflicts with the current state.
    State,
    /// Hamster does not have this operation.
    Unsupported,
    /// Refused for now; the same request may succeed later.
    Later,
    /// A failure of this server.
    Server,
}

macro_rules! codes {
    ($($fault:ident { $($name:ident $status:literal $message:literal,)+ })+) => {
        /// What went wrong, by AWS's name for it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Code {
            $($(#[doc = $message] $name,)+)+
        }

        impl Code {
            /// Every code, in the table's order.
            pub const ALL: &'static [Code] = &[$($(Code::$name,)+)+];

            const fn row(self) -> (Fault, &'static str, u16, &'static str) {
                match self {
                    $($(Code::$name => (Fault::$fault, stringify!($name), $status, $message),)+)+
                }
            }
        }
    };
}

codes! {
    Caller {
        AuthorizationHeaderMalformed 400 "The authorization header that you provided is not valid.",
        AuthorizationQueryParametersError 400 "The authorization query parameters that you provided are not valid.",
        BadDigest 400 "The Content-MD5 or checksum value that you specified did not match what the server received.",
        BadRequest 400 "The request is not well-formed HTTP.",
        EntityTooLarge 400 "Your proposed upload exceeds the maximum allowed object size.",
        EntityTooSmall 400 "Your proposed upload is smaller than the minimum allowed object size.",
        IllegalLocationConstraintException 400 "The specified location constraint is incompatible with the region of this endpoint.",
        IncompleteBody 400 "You did not provide the number of bytes specified by the Content-Length HTTP header.",
        InvalidArgument 400 "Invalid argument.",
        InvalidBucketOwnerAWSAccountID 400 "The value of the expected bucket owner parameter must be an AWS account ID: the twelve digits that ListBuckets shows as the owner's display name.",
        InvalidBucketName 400 "The specified bucket is not valid.",
        InvalidDigest 400 "The Content-MD5 or checksum value that you specified is not valid.",
        InvalidPart 400 "One or more of the specified parts could not be found. The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.",
        InvalidPartNumber 416 "The requested partnumber is not satisfiable.",
        InvalidPartOrder 400 "The list of parts was not in ascending order. The parts list must be specified in order by part number.",
        InvalidRange 416 "The requested range is not satisfiable.",
        InvalidRequest 400 "Invalid request.",
        InvalidStorageClass 400 "The storage class that you specified is not valid.",
        InvalidURI 400 "The specified URI couldn't be parsed.",
        KeyTooLongError 400 "Your key is too long.",
        MalformedTrailerError 400 "The request contained trailing data that was not well-formed or did not conform to our published schema.",
        MalformedXML 400 "The XML that you provided was not well-formed or did not validate against our published schema.",
        MaxMessageLengthExceeded 400 "Your request was too large.",
        MetadataTooLarge 400 "Your metadata headers exceed the maximum allowed metadata size.",
        MethodNotAllowed 405 "The specified method is not allowed against this resource.",
        MissingContentLength 411 "You must provide the Content-Length HTTP header.",
        RequestHeaderSectionTooLarge 400 "Your request header section exceeds the maximum allowed request header section size.",
        RequestTimeout 400 "Your socket connection to the server was not read from or written to within the timeout period.",
        XAmzContentSHA256Mismatch 400 "The provided 'x-amz-content-sha256' header does not match what was computed.",
    }
    Identity {
        AccessDenied 403 "Access Denied",
        AccessForbidden 403 "The request is forbidden.",
        InvalidAccessKeyId 403 "The access key ID that you provided does not exist in our records.",
        RequestTimeTooSkewed 403 "The difference between the request time and the server's time is too large.",
        SignatureDoesNotMatch 403 "The request signature that we calculated does not match the signature that you provided. Check your secret access key and signing method.",
    }
    NotFound {
        NoSuchBucketPolicy 404 "The bucket policy does not exist",
        NoSuchCORSConfiguration 404 "The CORS configuration does not exist",
        NoSuchConfiguration 404 "The specified configuration does not exist.",
        NoSuchLifecycleConfiguration 404 "The lifecycle configuration does not exist",
        NoSuchPublicAccessBlockConfiguration 404 "The public access block configuration was not found",
        NoSuchTagSet 404 "The TagSet does not exist",
        NoSuchWebsiteConfiguration 404 "The specified bucket does not have a website configuration",
        ObjectLockConfigurationNotFoundError 404 "Object Lock configuration does not exist for this bucket",
        ReplicationConfigurationNotFoundError 404 "The replication configuration was not found",
        ServerSideEncryptionConfigurationNotFoundError 404 "The server side encryption configuration was not found",
        NoSuchBucket 404 "The specified bucket does not exist.",
        NoSuchKey 404 "The specified key does not exist.",
        NoSuchUpload 404 "The specified multipart upload does not exist. The upload ID might not be valid, or the multipart upload might have been aborted or completed.",
        NoSuchVersion 404 "The version ID specified in the request does not match an existing version.",
    }
    State {
        BucketAlreadyExists 409 "The requested bucket name is not available. Specify a different name and try again.",
        BucketAlreadyOwnedByYou 409 "The bucket that you tried to create already exists, and you own it.",
        BucketNotEmpty 409 "The bucket that you tried to delete is not empty.",
        NotModified 304 "Not Modified",
        PreconditionFailed 412 "At least one of the preconditions that you specified did not hold.",
    }
    Unsupported {
        HttpVersionNotSupported 505 "The HTTP version that you used is not supported: use HTTP/1.1.",
        NotImplemented 501 "A header or query that you provided implies functionality that is not implemented.",
    }
    Later {
        InsufficientStorage 507 "The store has no room for new data. Delete objects or add capacity, then retry.",
        ServiceUnavailable 503 "Service is unable to handle the request.",
        SlowDown 503 "Please reduce your request rate.",
    }
    Server {
        InternalError 500 "An internal error occurred. Try again.",
    }
}

impl Code {
    /// AWS's name for the error, as it appears in the body's `<Code>`.
    pub const fn name(self) -> &'static str {
        self.row().1
    }

    /// The HTTP status of the response.
    pub const fn status(self) -> u16 {
        self.row().2
    }

    /// Whose fault it is.
    pub const fn fault(self) -> Fault {
        self.row().0
    }

    /// The default message.
    pub const fn message(self) -> &'static str {
        self.row().3
    }

    /// An error of this code with a more specific message than the table's.
    pub fn with(self, message: impl Into<String>) -> S3Error {
        S3Error {
            code: self,
            detail: Some(Box::new(Detail { message: Some(message.into()), ..Detail::default() })),
        }
    }

    /// An error of this code with the table's message and one more field in its body.
    pub fn field(self, name: &'static str, value: impl Into<String>) -> S3Error {
        S3Error::from(self).field(name, value)
    }
}

/// A failed request, as reported to the client. Two words wide, so that `Result`s stay small.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Error {
    code: Code,
    detail: Option<Box<Detail>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Detail {
    message: Option<String>,
    fields: Vec<(&'static str, String)>,
    headers: Vec<(&'static str, String)>,
}

/// The result type of the protocol code.
pub type S3Result<T> = Result<T, S3Error>;

impl S3Error {
    /// Its code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// Its HTTP status.
    pub fn status(&self) -> u16 {
        self.code.status()
    }

    /// The message for the client.
    pub fn message(&self) -> &str {
        self.detail.as_ref().and_then(|d| d.message.as_deref()).unwrap_or(self.code.message())
    }

    /// Adds a field to the body, as AWS does for some codes (`Key`, `Region`, `Condition`, ...). `name` must be an XML
    /// name.
    pub fn field(mut self, name: &'static str, value: impl Into<String>) -> S3Error {
        self.detail.get_or_insert_default().fields.push((name, value.into()));
        self
    }

    /// The value of an added field.
    pub fn field_value(&self, name: &str) -> Option<&str> {
        self.detail.as_ref()?.fields.iter().find(|(n, _)| *n == name).map(|(_, v)| v.as_str())
    }

    /// Adds a header to the response: the validators of a 304, the `Content-Range` of a 416, the `Allow` of a 405.
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> S3Error {
        self.detail.get_or_insert_default().headers.push((name, value.into()));
        self
    }

    /// The response headers beyond the common ones: those that were added, and `Retry-After` on a refusal that is worth
    /// a retry.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let later = matches!(self.code, Code::SlowDown | Code::ServiceUnavailable);
        let added = self.detail.iter().flat_map(|detail| &detail.headers);
        added.map(|(name, value)| (*name, value.as_str())).chain(later.then_some(("Retry-After", "1")))
    }

    /// Whether the response has a body. A 304 must not have one. (Nor has the response to HEAD, but that is for the
    /// caller to handle.)
    pub fn has_body(&self) -> bool {
        self.code != Code::NotModified
    }

    /// Appends the body. `resource` is the requested path, `request_id` the value of `x-amz-request-id`.
    pub fn to_xml(&self, resource: &str, request_id: &str, out: &mut Vec<u8>) {
        let mut xml = Xml::document(out);
        xml.open("Error");
        xml.text("Code", self.code.name());
        xml.text("Message", self.message());
        for (name, value) in self.detail.iter().flat_map(|d| &d.fields) {
            xml.text(name, value);
        }
        xml.text("Resource", resource);
        xml.text("RequestId", request_id);
        xml.text("HostId", "hamster");
        xml.close("Error");
    }
}

impl From<Code> for S3Error {
    fn from(code: Code) -> S3Error {
        S3Error { code, detail: None }
    }
}

impl std::fmt::Display for S3Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code.name(), self.message())
    }
}

impl std::error::Error for S3Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_an_error_status_and_a_message() {
        for code in Code::ALL {
            assert!(code.status() >= 300 && code.status() < 600, "{code:?}");
            assert!(!code.message().is_empty());
            let server = matches!(code.fault(), Fault::Later | Fault::Server | Fault::Unsupported);
            assert_eq!(server, code.status() >= 500, "{code:?}");
        }
    }

    #[test]
    fn the_body_has_awss_shape_and_is_escaped() {
        let mut out = Vec::new();
        let error = Code::NoSuchKey.with("no <key>").field("Key", "a&b");
        error.to_xml("/b/a&b", "7", &mut out);
        let want = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>NoSuchKey</Code>\
            <Message>no &lt;key&gt;</Message><Key>a&amp;b</Key><Resource>/b/a&amp;b</Resource>\
            <RequestId>7</RequestId><HostId>hamster</HostId></Error>";
        assert_eq!(String::from_utf8(out).unwrap(), want);
        assert_eq!(error.field_value("Key"), Some("a&b"));
    }

    #[test]
    fn temporary_refusals_say_when_to_retry() {
        let headers = |error: S3Error| error.headers().map(|(n, v)| format!("{n}: {v}")).collect::<Vec<_>>();
        assert_eq!(headers(Code::SlowDown.into()), ["Retry-After: 1"]);
        assert_eq!(headers(Code::InternalError.into()), [""; 0]);
        let refused =
            Code::MethodNotAllowed.with("no").header("Allow", "DELETE").header("x-amz-delete-marker", "true");
        assert_eq!(headers(refused), ["Allow: DELETE", "x-amz-delete-marker: true"]);
        assert!(std::mem::size_of::<S3Error>() <= 16);
    }
}
