//! The S3 front end of Hamster. The protocol half does no I/O: bytes and the time come in as arguments.
#![forbid(unsafe_code)]

pub mod checksum;
pub mod condition;
pub mod copy_source;
pub mod error;
pub mod etag;
pub mod http;
pub mod meta;
pub mod name;
pub mod range;
pub mod rfc2047;
pub mod route;
pub mod sigv2;
pub mod sigv4;
pub mod time;
pub mod uri;
pub mod xml;
mod conn;
pub mod counters;
pub mod limits;
mod op;
pub mod service;

pub use conn::serve;
