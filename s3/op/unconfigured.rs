//! The operations that read a setting that cannot be made here. They answer as AWS does for a bucket or an object
//! without the setting: with an empty document or a specific error. Many clients query these before they do anything
//! else.
//!
//! Source: AWS, "Amazon S3 API Reference", the pages of the operations, and "List of Error Codes".

use super::get_object::existing_object;
use super::{Exchange, OWNER};
use crate::conn::Reply;
use crate::error::{Code, S3Result};
use crate::operation::Operation;
use crate::xml::unconfigured as xml;

/// Answers an operation that reads a setting. The bucket or object to which the setting belongs must exist.
pub(super) async fn answer(ex: &mut Exchange<'_, '_>) -> S3Result<Reply> {
    if ex.route.key.is_some() {
        existing_object(ex).await?;
    } else {
        ex.existing_bucket().await?;
    }
    let missing = match ex.route.operation {
        Operation::GetBucketAccelerateConfiguration => return Ok(empty("AccelerateConfiguration")),
        Operation::GetBucketLogging => return Ok(empty("BucketLoggingStatus")),
        Operation::GetBucketNotificationConfiguration => return Ok(empty("NotificationConfiguration")),
        Operation::GetBucketVersioning => return Ok(empty("VersioningConfiguration")),
        Operation::GetBucketRequestPayment => return Ok(Reply::xml(xml::bucket_owner_pays)),
        Operation::GetBucketOwnershipControls => return Ok(Reply::xml(xml::bucket_owner_enforced)),
        Operation::GetBucketAcl | Operation::GetObjectAcl => {
            return Ok(Reply::xml(|out| xml::owner_has_full_control(OWNER, out)));
        }
        Operation::GetObjectTagging => return Ok(Reply::xml(xml::no_tags)),
        Operation::ListBucketAnalyticsConfigurations => {
            return Ok(no_configurations("ListBucketAnalyticsConfigurationResult"));
        }
        Operation::ListBucketIntelligentTieringConfigurations => {
            return Ok(no_configurations("ListBucketIntelligentTieringConfigurationsOutput"));
        }
        Operation::ListBucketInventoryConfigurations => {
            return Ok(no_configurations("ListInventoryConfigurationsResult"));
        }
        Operation::ListBucketMetricsConfigurations => {
            return Ok(no_configurations("ListMetricsConfigurationsResult"));
        }
        Operation::GetBucketCors => Code::NoSuchCORSConfiguration,
        Operation::GetBucketEncryption => Code::ServerSideEncryptionConfigurationNotFoundError,
        Operation::GetBucketLifecycleConfiguration => Code::NoSuchLifecycleConfiguration,
        Operation::GetBucketPolicy | Operation::GetBucketPolicyStatus => Code::NoSuchBucketPolicy,
        Operation::GetBucketReplication => Code::ReplicationConfigurationNotFoundError,
        Operation::GetBucketTagging => Code::NoSuchTagSet,
        Operation::GetBucketWebsite => Code::NoSuchWebsiteConfiguration,
        Operation::GetObjectLockConfiguration => Code::ObjectLockConfigurationNotFoundError,
        Operation::GetPublicAccessBlock => Code::NoSuchPublicAccessBlockConfiguration,
        Operation::GetObjectLegalHold | Operation::GetObjectRetention => {
            return Err(Code::InvalidRequest.with("Bucket is missing Object Lock Configuration"));
        }
        _ => Code::NoSuchConfiguration,
    };
    Err(missing.field("BucketName", ex.bucket()?))
}

fn empty(root: &str) -> Reply {
    Reply::xml(|out| xml::empty(root, out))
}

fn no_configurations(root: &str) -> Reply {
    Reply::xml(|out| xml::no_configurations(root, out))
}
