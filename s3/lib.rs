//! The S3 front end of Hamster. The protocol code does no I/O: it takes bytes and the current time as arguments.
#![forbid(unsafe_code)]

pub mod access;
pub mod checksum;
pub mod condition;
mod conn;
pub mod copy_source;
pub mod counters;
pub mod error;
pub mod health;
pub mod http;
pub mod limits;
pub mod meta;
pub mod name;
mod op;
pub mod operation;
pub mod part_number;
pub mod proxies;
pub mod range;
pub mod rfc2047;
pub mod route;
pub mod service;
pub mod sigv2;
pub mod sigv4;
#[cfg(test)]
mod test_support;
pub mod time;
pub mod uri;
pub mod xml;

pub use conn::{Inbox, Spread, serve};
pub use op::OWNER_ID;
