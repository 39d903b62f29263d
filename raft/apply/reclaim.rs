//! Forgets blobs whose bytes are gone.

use super::Session;
use crate::{
    command::{Outcome, Reclaimed},
    key,
    kv::Reader,
};

impl<R: Reader> Session<'_, R> {
    pub(super) fn reclaimed(&mut self, command: &Reclaimed) -> Outcome {
        for &data_id in &command.data_ids {
            self.rows.delete(key::reclaim(data_id));
        }
        Outcome::Done
    }
}
