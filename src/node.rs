//! The assembly of a node: the cluster port and the admin port on core 0.

use crate::admin::serve_admin;
use crate::cluster::server::{Answers, serve_cluster};
use crate::error::{Error, Result};
use crate::startup::Startup;
use engine::io::{ExecutorsConfig, Listener, run_executors, spawn};
use std::rc::Rc;
use std::sync::{Arc, Mutex};

/// Runs a node until it is told to drain.
pub fn run(startup: Startup) -> Result<()> {
    let Startup { data, identity, cores, cluster_tls, board, access_log, addresses, shutdown, ready, .. } =
        startup;
    let record = identity.record.clone();
    let ready = Arc::new(Mutex::new(Some(ready)));
    let config = ExecutorsConfig { cores: usize::from(cores), directory: data.path().to_owned() };
    let executors = run_executors(&config, move |core| {
        let (shutdown, board, tls, record) =
            (shutdown.clone(), Arc::clone(&board), Arc::clone(&cluster_tls), record.clone());
        let (ready, addresses) = (Arc::clone(&ready), addresses.clone());
        async move {
            if core != 0 {
                return;
            }
            let (Ok(cluster), Ok(admin)) =
                (Listener::bind(addresses.listen), Listener::bind(addresses.admin))
            else {
                return;
            };
            let answers = Answers { record, board: Arc::clone(&board) };
            drop(spawn(serve_cluster(cluster, tls, Rc::new(answers))));
            drop(spawn(serve_admin(admin, Arc::clone(&board))));
            board.set_waits_for(vec![]);
            if let Some(ready) = ready.lock().ok().and_then(|mut ready| ready.take()) {
                ready(&addresses);
            }
            shutdown.wait().await;
        }
    });
    let executors = executors.map_err(|error| Error::refused(format!("cannot start the cores: {error}")))?;
    let ended = executors.join().map_err(|error| Error::failed(format!("a core ended: {error}")));
    if let Some((_, writer)) = access_log {
        writer.finish();
    }
    ended
}
