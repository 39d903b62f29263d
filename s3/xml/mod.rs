//! XML in and out: [`write`] for the answers, one module per family of documents.

pub mod write;
