//! Who sent a request, and what they may do.
//!
//! The root credential may do everything; an anonymous caller may do nothing that needs permission. Users, policies and
//! public buckets will be decided here. [`authorise`] is called once for each request before its body is read, and
//! again for every other resource that the request touches: the source of a copy, each object of a DeleteObjects.

use std::sync::Arc;

use crate::error::{Code, S3Result};
use crate::name::{BucketName, ObjectKey};

/// The sender of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// The request carries no signature.
    Anonymous,
    /// The request is signed by the root credential with this access key id.
    Root(Arc<str>),
}

impl Principal {
    /// The access key id of a signed request.
    pub fn access_key(&self) -> Option<&Arc<str>> {
        match self {
            Principal::Anonymous => None,
            Principal::Root(access_key) => Some(access_key),
        }
    }
}

/// What an action applies to: nothing (the service), a bucket, or an object.
#[derive(Debug, Clone, Copy, Default)]
pub struct Resource<'a> {
    /// The bucket.
    pub bucket: Option<&'a BucketName>,
    /// The key in it.
    pub key: Option<&'a ObjectKey>,
}

/// Refuses an action that the principal may not take. `action` is one of AWS's names (`s3:GetObject`), or empty where
/// no permission is needed.
///
/// # Errors
/// [`Code::AccessDenied`].
pub fn authorise(principal: &Principal, action: &str, _resource: Resource<'_>) -> S3Result<()> {
    match principal {
        Principal::Root(_) => Ok(()),
        Principal::Anonymous if action.is_empty() => Ok(()),
        Principal::Anonymous => Err(Code::AccessDenied.with("Access Denied: the request is not signed.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_anonymous_caller_may_do_only_what_needs_no_permission() {
        let root = Principal::Root("AKEY".into());
        let anywhere = Resource::default();
        assert_eq!(authorise(&root, "s3:DeleteBucket", anywhere), Ok(()));
        assert_eq!(authorise(&Principal::Anonymous, "", anywhere), Ok(()));
        let refused = authorise(&Principal::Anonymous, "s3:ListAllMyBuckets", anywhere).unwrap_err();
        assert_eq!(refused.code(), Code::AccessDenied);
    }
}
