//! The S3 front end of Hamster. The protocol half does no I/O: bytes and the time come in as arguments.
#![forbid(unsafe_code)]

pub mod checksum;
pub mod condition;
pub mod error;
pub mod http;
pub mod name;
pub mod range;
pub mod route;
pub mod sigv2;
pub mod sigv4;
pub mod time;
pub mod uri;
pub mod xml;
