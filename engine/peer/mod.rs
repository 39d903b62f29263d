//! Peers.
pub mod mesh;
