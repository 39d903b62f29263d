//! The headers that are stored with an object and come back with it.

/// One entry of an object's user metadata.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct UserMetadata {
    /// Lower case, without `x-amz-meta-`.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Decoded (RFC 2047).
    #[prost(string, tag = "2")]
    pub value: String,
}

/// Headers that versions and uploads share, as the client gave them; absent if it gave none.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct ObjectHeaders {
    /// Content-Type.
    #[prost(string, optional, tag = "1")]
    pub content_type: Option<String>,
    /// Cache-Control.
    #[prost(string, optional, tag = "2")]
    pub cache_control: Option<String>,
    /// Content-Disposition.
    #[prost(string, optional, tag = "3")]
    pub content_disposition: Option<String>,
    /// Content-Encoding, without `aws-chunked`.
    #[prost(string, optional, tag = "4")]
    pub content_encoding: Option<String>,
    /// Content-Language.
    #[prost(string, optional, tag = "5")]
    pub content_language: Option<String>,
    /// Expires, as text.
    #[prost(string, optional, tag = "6")]
    pub expires: Option<String>,
    // Tag 7 is reserved: it was x-amz-website-redirect-location, always absent.
    /// x-amz-meta-…, in the order given.
    #[prost(message, repeated, tag = "8")]
    pub user_metadata: Vec<UserMetadata>,
}
