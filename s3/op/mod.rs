//! The S3 operations, one file per group. A handler runs straight down: parse, check, act, respond.
//!
//! A handler is given an [`Exchange`]: a request whose signature has been verified and whose bucket and key are
//! well-formed. [`crate::conn`] sends the reply that it returns.

mod attributes;
mod browser;
mod buckets;
mod complete;
mod copy;
mod delete;
mod document;
mod get_object;
mod headers;
mod list_objects;
mod list_uploads;
mod list_versions;
mod listing;
mod multipart;
mod outcome;
mod put_object;
mod receive;
mod refused;
mod stream;
mod unconfigured;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use engine::budget::Holder;
use engine::io;
use engine::placement::{self, Partition};
use raft::command::{Kind, Outcome};

use crate::access::{self, Principal, Resource};
use crate::conn::{Body, Deferral, Reply};
use crate::error::{Code, S3Error, S3Result};
use crate::http::head::RequestHead;
use crate::meta;
use crate::name::{BucketName, ObjectKey};
use crate::operation::{Operation, operations};
use crate::route::Route;
use crate::service::Service;
use crate::sigv4::PayloadMode;
use crate::xml::Owner;

pub(crate) use stream::ObjectStream;
use stream::Reclaimed;

/// A request while its handler runs.
pub(crate) struct Exchange<'r, 'w> {
    pub(crate) service: &'r Rc<Service>,
    pub(crate) head: &'r RequestHead,
    pub(crate) principal: Principal,
    pub(crate) route: Route,
    pub(crate) now_ms: u64,
    pub(crate) payload: PayloadMode,
    /// The holder of the memory that it takes.
    pub(crate) holder: &'r Rc<Holder>,
    pub(crate) deferral: &'r mut Deferral,
    pub(crate) body: &'r mut Body<'w>,
}

impl Exchange<'_, '_> {
    fn bucket(&self) -> S3Result<&str> {
        self.route.bucket.as_ref().map(|name| name.as_str()).ok_or_else(|| Code::InvalidBucketName.into())
    }

    fn key(&self) -> S3Result<&str> {
        self.route.key.as_ref().map(|key| key.as_str()).ok_or_else(|| Code::InvalidURI.into())
    }

    /// Checks that the sender may access an object other than the one in the request path.
    fn authorise(&self, action: &str, bucket: &BucketName, key: &ObjectKey) -> S3Result<()> {
        let resource = Resource { bucket: Some(bucket), key: Some(key) };
        access::authorise(&self.principal, action, resource)
    }

    /// The bucket of the request, which must exist.
    async fn existing_bucket(&self) -> S3Result<&str> {
        let name = self.bucket()?;
        match self.service.metadata.bucket(name).await? {
            Some(_) => Ok(name),
            None => Err(no_such_bucket(name)),
        }
    }

    /// Commits a command and returns its outcome, or an error if it was refused.
    async fn commit(&self, kind: Kind) -> S3Result<Outcome> {
        outcome::accepted(self.service.metadata.commit(self.service.command(kind)).await?)
    }

    /// Waits for work that may take a long time. Meanwhile the client of a copy or a completion is sent keepalives.
    /// The caller pins the work, so that its state, several KiB for a PUT, is not moved.
    async fn with_keepalive<T>(&mut self, mut work: Pin<&mut impl Future<Output = T>>) -> T {
        while let Some(due) = self.deferral.due() {
            if let Ok(done) = io::timeout(due, work.as_mut()).await {
                return done;
            }
            if let Some(done) = meanwhile(work.as_mut(), self.deferral.send_keepalive(self.body)).await {
                return done;
            }
        }
        work.await
    }

    fn partition(&self) -> S3Result<Partition> {
        Ok(placement::partition_of_key(self.bucket()?, self.key()?.as_bytes()))
    }
}

/// Runs `keepalive` to its end and `work` beside it; the output of `work`, if it ended too.
async fn meanwhile<T>(
    mut work: Pin<&mut impl Future<Output = T>>,
    keepalive: impl Future<Output = ()>,
) -> Option<T> {
    let mut done = None;
    let mut keepalive = pin!(keepalive);
    poll_fn(|cx| {
        if done.is_none()
            && let Poll::Ready(value) = work.as_mut().poll(cx)
        {
            done = Some(value);
        }
        keepalive.as_mut().poll(cx)
    })
    .await;
    done
}

/// The canonical user id of the one account that owns everything.
pub const OWNER_ID: &str = "75aa57f09aa0c8caeab4f8c24e99d10f8e7faeebf76c078efc7c6caea54ba06a";

/// The id of that account, twelve digits.
pub const ACCOUNT_ID: &str = "426783700000";

/// The one account that owns everything: every credential acts for it.
const OWNER: Owner<'static> = Owner { id: OWNER_ID, account_id: ACCOUNT_ID };

fn no_such_bucket(name: &str) -> S3Error {
    Code::NoSuchBucket.field("BucketName", name)
}

macro_rules! dispatch {
    ($($name:ident $target:ident $method:ident $selectors:tt $action:literal $class:ident $features:tt
       $module:ident::$handler:ident;)+) => {
        async fn handle(ex: &mut Exchange<'_, '_>) -> S3Result<Reply> {
            match ex.route.operation {
                $(Operation::$name => $module::$handler(ex).await,)+
            }
        }
    };
}
operations!(dispatch);

/// Answers one request.
pub(crate) async fn dispatch(ex: &mut Exchange<'_, '_>) -> S3Result<Reply> {
    meta::refuse_unsupported(ex.head, ex.route.operation.row().features, OWNER)?;
    handle(ex).await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A copy stood still, with its buffers and its turn, while its client did not read the keepalive.
    #[test]
    fn work_goes_on_while_a_keepalive_waits_for_the_client() {
        let ended = io::Event::new();
        let mut work = pin!(async {
            io::yield_now().await;
            ended.notify();
            7
        });
        let keepalive = async { ended.wait().await };
        let done = io::block_on(io::timeout(Duration::from_secs(10), meanwhile(work.as_mut(), keepalive)));
        assert_eq!(done.unwrap(), Ok(Some(7)));
    }
}
