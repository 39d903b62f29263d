//! The one table of S3's operations. A row states how a request selects the operation, its name in logs and metrics,
//! the action by which a policy would allow it, the class under which its latency is counted, the features it supports,
//! and the handler that answers it. [`crate::route`], `dispatch` in `op`, metrics, authorisation and the refusal of
//! headers all use this table, so a new operation is a row here and a file in `op/`.
//!
//! All of AWS's operations are listed. `refused::not_implemented` answers those that Hamster does not have, so a
//! subresource is never mistaken for the plain request.
//!
//! Source: AWS, "Amazon S3 API Reference", "Actions"; "Actions, resources, and condition keys for Amazon S3".

use crate::error::{Code, S3Error};
use crate::http::head::Method;

/// The kind of resource that a request's path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Nothing: `/`.
    Service,
    /// A bucket.
    Bucket,
    /// A key in a bucket.
    Object,
    /// Any of these.
    Any,
}

/// A feature that a request can ask for with `x-amz-*` headers, beyond its operation. A header of a feature that the
/// operation does not support is refused: ignoring it would report success for something that was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Feature {
    Acl,
    Append,
    ConditionOnSizeOrTime,
    Encryption,
    Mfa,
    ObjectLock,
    ObjectOwnership,
    Rename,
    Tags,
    WebsiteRedirect,
}

/// The classes of requests whose latencies are measured separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Object reads.
    Get,
    /// Object and part writes.
    Put,
    /// Lists.
    List,
    /// Deletes.
    Delete,
    /// Everything else.
    Other,
}

impl Class {
    /// Every class, in order.
    pub const ALL: [Class; 5] = [Class::Get, Class::Put, Class::List, Class::Delete, Class::Other];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Class::Get => "get",
            Class::Put => "put",
            Class::List => "list",
            Class::Delete => "delete",
            Class::Other => "other",
        }
    }
}

/// A row of the table.
#[derive(Debug)]
pub struct Row {
    /// The operation.
    pub operation: Operation,
    /// AWS's name for it.
    pub name: &'static str,
    /// What the path must name.
    pub target: Target,
    /// The method.
    pub method: Method,
    /// What the request must have beyond that, the subresource first: a query parameter (`uploads`), one with a value
    /// (`list-type=2`), or a header (`x-amz-…`). The first row that matches a request counts.
    pub selectors: &'static [&'static str],
    /// The action by which a policy allows it; empty if no permission is needed, since browsers send the request
    /// unsigned.
    pub action: &'static str,
    /// The class under which its latency is counted.
    pub class: Class,
    /// The features that it supports.
    pub features: &'static [Feature],
}

/// Calls the macro `$then` with all rows: `Operation Target Method [selectors] "action" Class [features] handler;`.
macro_rules! operations {
    ($then:ident) => {
        $then! {
            ListDirectoryBuckets Service Get ["directory-buckets"] "s3express:ListAllMyDirectoryBuckets" Other [] refused::not_implemented;
            ListBuckets Service Get [] "s3:ListAllMyBuckets" List [] buckets::list;
            WriteGetObjectResponse Service Post [] "s3-object-lambda:WriteGetObjectResponse" Other [] refused::not_implemented;

            PreflightRequest Any Options [] "" Other [] browser::preflight;

            GetBucketAccelerateConfiguration Bucket Get ["accelerate"] "s3:GetAccelerateConfiguration" Other [] unconfigured::answer;
            PutBucketAccelerateConfiguration Bucket Put ["accelerate"] "s3:PutAccelerateConfiguration" Other [] refused::not_implemented;
            GetBucketAcl Bucket Get ["acl"] "s3:GetBucketAcl" Other [] unconfigured::answer;
            PutBucketAcl Bucket Put ["acl"] "s3:PutBucketAcl" Other [] refused::not_implemented;
            GetBucketAnalyticsConfiguration Bucket Get ["analytics", "id"] "s3:GetAnalyticsConfiguration" Other [] unconfigured::answer;
            ListBucketAnalyticsConfigurations Bucket Get ["analytics"] "s3:GetAnalyticsConfiguration" Other [] unconfigured::answer;
            PutBucketAnalyticsConfiguration Bucket Put ["analytics"] "s3:PutAnalyticsConfiguration" Other [] refused::not_implemented;
            DeleteBucketAnalyticsConfiguration Bucket Delete ["analytics"] "s3:PutAnalyticsConfiguration" Other [] refused::not_implemented;
            GetBucketAbac Bucket Get ["abac"] "s3:GetBucketAbac" Other [] refused::not_implemented;
            PutBucketAbac Bucket Put ["abac"] "s3:PutBucketAbac" Other [] refused::not_implemented;
            GetBucketCors Bucket Get ["cors"] "s3:GetBucketCORS" Other [] unconfigured::answer;
            PutBucketCors Bucket Put ["cors"] "s3:PutBucketCORS" Other [] refused::not_implemented;
            DeleteBucketCors Bucket Delete ["cors"] "s3:PutBucketCORS" Other [] refused::not_implemented;
            GetBucketEncryption Bucket Get ["encryption"] "s3:GetEncryptionConfiguration" Other [] unconfigured::answer;
            PutBucketEncryption Bucket Put ["encryption"] "s3:PutEncryptionConfiguration" Other [] refused::not_implemented;
            DeleteBucketEncryption Bucket Delete ["encryption"] "s3:PutEncryptionConfiguration" Other [] refused::not_implemented;
            GetBucketIntelligentTieringConfiguration Bucket Get ["intelligent-tiering", "id"] "s3:GetIntelligentTieringConfiguration" Other [] unconfigured::answer;
            ListBucketIntelligentTieringConfigurations Bucket Get ["intelligent-tiering"] "s3:GetIntelligentTieringConfiguration" Other [] unconfigured::answer;
            PutBucketIntelligentTieringConfiguration Bucket Put ["intelligent-tiering"] "s3:PutIntelligentTieringConfiguration" Other [] refused::not_implemented;
            DeleteBucketIntelligentTieringConfiguration Bucket Delete ["intelligent-tiering"] "s3:PutIntelligentTieringConfiguration" Other [] refused::not_implemented;
            GetBucketInventoryConfiguration Bucket Get ["inventory", "id"] "s3:GetInventoryConfiguration" Other [] unconfigured::answer;
            ListBucketInventoryConfigurations Bucket Get ["inventory"] "s3:GetInventoryConfiguration" Other [] unconfigured::answer;
            PutBucketInventoryConfiguration Bucket Put ["inventory"] "s3:PutInventoryConfiguration" Other [] refused::not_implemented;
            DeleteBucketInventoryConfiguration Bucket Delete ["inventory"] "s3:PutInventoryConfiguration" Other [] refused::not_implemented;
            GetBucketLifecycleConfiguration Bucket Get ["lifecycle"] "s3:GetLifecycleConfiguration" Other [] unconfigured::answer;
            PutBucketLifecycleConfiguration Bucket Put ["lifecycle"] "s3:PutLifecycleConfiguration" Other [] refused::not_implemented;
            DeleteBucketLifecycle Bucket Delete ["lifecycle"] "s3:PutLifecycleConfiguration" Other [] refused::not_implemented;
            GetBucketLogging Bucket Get ["logging"] "s3:GetBucketLogging" Other [] unconfigured::answer;
            PutBucketLogging Bucket Put ["logging"] "s3:PutBucketLogging" Other [] refused::not_implemented;
            GetBucketMetadataConfiguration Bucket Get ["metadataConfiguration"] "s3:GetBucketMetadataTableConfiguration" Other [] refused::not_implemented;
            CreateBucketMetadataConfiguration Bucket Post ["metadataConfiguration"] "s3:CreateBucketMetadataTableConfiguration" Other [] refused::not_implemented;
            DeleteBucketMetadataConfiguration Bucket Delete ["metadataConfiguration"] "s3:DeleteBucketMetadataTableConfiguration" Other [] refused::not_implemented;
            UpdateBucketMetadataInventoryTableConfiguration Bucket Put ["metadataInventoryTable"] "s3:UpdateBucketMetadataInventoryTableConfiguration" Other [] refused::not_implemented;
            UpdateBucketMetadataJournalTableConfiguration Bucket Put ["metadataJournalTable"] "s3:UpdateBucketMetadataJournalTableConfiguration" Other [] refused::not_implemented;
            GetBucketMetadataTableConfiguration Bucket Get ["metadataTable"] "s3:GetBucketMetadataTableConfiguration" Other [] refused::not_implemented;
            CreateBucketMetadataTableConfiguration Bucket Post ["metadataTable"] "s3:CreateBucketMetadataTableConfiguration" Other [] refused::not_implemented;
            DeleteBucketMetadataTableConfiguration Bucket Delete ["metadataTable"] "s3:DeleteBucketMetadataTableConfiguration" Other [] refused::not_implemented;
            GetBucketMetricsConfiguration Bucket Get ["metrics", "id"] "s3:GetMetricsConfiguration" Other [] unconfigured::answer;
            ListBucketMetricsConfigurations Bucket Get ["metrics"] "s3:GetMetricsConfiguration" Other [] unconfigured::answer;
            PutBucketMetricsConfiguration Bucket Put ["metrics"] "s3:PutMetricsConfiguration" Other [] refused::not_implemented;
            DeleteBucketMetricsConfiguration Bucket Delete ["metrics"] "s3:PutMetricsConfiguration" Other [] refused::not_implemented;
            GetBucketNotificationConfiguration Bucket Get ["notification"] "s3:GetBucketNotification" Other [] unconfigured::answer;
            PutBucketNotificationConfiguration Bucket Put ["notification"] "s3:PutBucketNotification" Other [] refused::not_implemented;
            GetObjectLockConfiguration Bucket Get ["object-lock"] "s3:GetBucketObjectLockConfiguration" Other [] unconfigured::answer;
            PutObjectLockConfiguration Bucket Put ["object-lock"] "s3:PutBucketObjectLockConfiguration" Other [] refused::not_implemented;
            GetBucketOwnershipControls Bucket Get ["ownershipControls"] "s3:GetBucketOwnershipControls" Other [] unconfigured::answer;
            PutBucketOwnershipControls Bucket Put ["ownershipControls"] "s3:PutBucketOwnershipControls" Other [] refused::not_implemented;
            DeleteBucketOwnershipControls Bucket Delete ["ownershipControls"] "s3:PutBucketOwnershipControls" Other [] refused::not_implemented;
            GetBucketPolicy Bucket Get ["policy"] "s3:GetBucketPolicy" Other [] unconfigured::answer;
            PutBucketPolicy Bucket Put ["policy"] "s3:PutBucketPolicy" Other [] refused::not_implemented;
            DeleteBucketPolicy Bucket Delete ["policy"] "s3:DeleteBucketPolicy" Other [] refused::not_implemented;
            GetBucketPolicyStatus Bucket Get ["policyStatus"] "s3:GetBucketPolicyStatus" Other [] unconfigured::answer;
            GetPublicAccessBlock Bucket Get ["publicAccessBlock"] "s3:GetBucketPublicAccessBlock" Other [] unconfigured::answer;
            PutPublicAccessBlock Bucket Put ["publicAccessBlock"] "s3:PutBucketPublicAccessBlock" Other [] refused::not_implemented;
            DeletePublicAccessBlock Bucket Delete ["publicAccessBlock"] "s3:PutBucketPublicAccessBlock" Other [] refused::not_implemented;
            GetBucketReplication Bucket Get ["replication"] "s3:GetReplicationConfiguration" Other [] unconfigured::answer;
            PutBucketReplication Bucket Put ["replication"] "s3:PutReplicationConfiguration" Other [] refused::not_implemented;
            DeleteBucketReplication Bucket Delete ["replication"] "s3:PutReplicationConfiguration" Other [] refused::not_implemented;
            GetBucketRequestPayment Bucket Get ["requestPayment"] "s3:GetBucketRequestPayment" Other [] unconfigured::answer;
            PutBucketRequestPayment Bucket Put ["requestPayment"] "s3:PutBucketRequestPayment" Other [] refused::not_implemented;
            CreateSession Bucket Get ["session"] "s3express:CreateSession" Other [] refused::not_implemented;
            GetBucketTagging Bucket Get ["tagging"] "s3:GetBucketTagging" Other [] unconfigured::answer;
            PutBucketTagging Bucket Put ["tagging"] "s3:PutBucketTagging" Other [] refused::not_implemented;
            DeleteBucketTagging Bucket Delete ["tagging"] "s3:PutBucketTagging" Other [] refused::not_implemented;
            GetBucketVersioning Bucket Get ["versioning"] "s3:GetBucketVersioning" Other [] unconfigured::answer;
            PutBucketVersioning Bucket Put ["versioning"] "s3:PutBucketVersioning" Other [] refused::not_implemented;
            GetBucketWebsite Bucket Get ["website"] "s3:GetBucketWebsite" Other [] unconfigured::answer;
            PutBucketWebsite Bucket Put ["website"] "s3:PutBucketWebsite" Other [] refused::not_implemented;
            DeleteBucketWebsite Bucket Delete ["website"] "s3:DeleteBucketWebsite" Other [] refused::not_implemented;
            GetBucketLocation Bucket Get ["location"] "s3:GetBucketLocation" Other [] buckets::location;
            ListMultipartUploads Bucket Get ["uploads"] "s3:ListBucketMultipartUploads" List [] list_uploads::uploads;
            ListObjectVersions Bucket Get ["versions"] "s3:ListBucketVersions" List [] list_versions::list;
            ListObjectsV2 Bucket Get ["list-type=2"] "s3:ListBucket" List [] list_objects::v2;
            ListObjects Bucket Get [] "s3:ListBucket" List [] list_objects::v1;
            DeleteObjects Bucket Post ["delete"] "s3:DeleteObject" Delete [] delete::many;
            PostObject Bucket Post [] "" Other [] browser::form;
            CreateBucket Bucket Put [] "s3:CreateBucket" Other [] buckets::create;
            HeadBucket Bucket Head [] "s3:ListBucket" Other [] buckets::head;
            DeleteBucket Bucket Delete [] "s3:DeleteBucket" Delete [] buckets::delete;

            GetObjectAcl Object Get ["acl"] "s3:GetObjectAcl" Other [] unconfigured::answer;
            PutObjectAcl Object Put ["acl"] "s3:PutObjectAcl" Other [] refused::not_implemented;
            GetObjectAnnotation Object Get ["annotation"] "s3:GetObjectAnnotation" Other [] refused::not_implemented;
            PutObjectAnnotation Object Put ["annotation"] "s3:PutObjectAnnotation" Other [] refused::not_implemented;
            DeleteObjectAnnotation Object Delete ["annotation"] "s3:DeleteObjectAnnotation" Other [] refused::not_implemented;
            GetObjectAttributes Object Get ["attributes"] "s3:GetObjectAttributes" Other [] attributes::get;
            UpdateObjectEncryption Object Put ["encryption"] "s3:UpdateObjectEncryption" Other [] refused::not_implemented;
            GetObjectLegalHold Object Get ["legal-hold"] "s3:GetObjectLegalHold" Other [] unconfigured::answer;
            PutObjectLegalHold Object Put ["legal-hold"] "s3:PutObjectLegalHold" Other [] refused::not_implemented;
            RenameObject Object Put ["renameObject"] "s3express:CreateSession" Other [] refused::not_implemented;
            RestoreObject Object Post ["restore"] "s3:RestoreObject" Other [] refused::not_implemented;
            GetObjectRetention Object Get ["retention"] "s3:GetObjectRetention" Other [] unconfigured::answer;
            PutObjectRetention Object Put ["retention"] "s3:PutObjectRetention" Other [] refused::not_implemented;
            SelectObjectContent Object Post ["select"] "s3:GetObject" Other [] refused::not_implemented;
            GetObjectTagging Object Get ["tagging"] "s3:GetObjectTagging" Other [] unconfigured::answer;
            PutObjectTagging Object Put ["tagging"] "s3:PutObjectTagging" Other [] refused::not_implemented;
            DeleteObjectTagging Object Delete ["tagging"] "s3:DeleteObjectTagging" Other [] refused::not_implemented;
            GetObjectTorrent Object Get ["torrent"] "s3:GetObjectTorrent" Other [] refused::not_implemented;
            CreateMultipartUpload Object Post ["uploads"] "s3:PutObject" Other [] multipart::create;
            ListParts Object Get ["uploadId"] "s3:ListMultipartUploadParts" List [] list_uploads::parts;
            UploadPartCopy Object Put ["uploadId", "partNumber", "x-amz-copy-source"] "s3:PutObject" Put [] copy::part;
            UploadPart Object Put ["uploadId", "partNumber"] "s3:PutObject" Put [] multipart::upload_part;
            CompleteMultipartUpload Object Post ["uploadId"] "s3:PutObject" Other [] complete::complete;
            AbortMultipartUpload Object Delete ["uploadId"] "s3:AbortMultipartUpload" Other [] multipart::abort;
            AppendObject Object Put ["append"] "s3:PutObject" Other [] refused::not_implemented;
            GetObject Object Get [] "s3:GetObject" Get [] get_object::get;
            HeadObject Object Head [] "s3:GetObject" Get [] get_object::head;
            CopyObject Object Put ["x-amz-copy-source"] "s3:PutObject" Put [] copy::object;
            PutObject Object Put [] "s3:PutObject" Put [] put_object::put;
            DeleteObject Object Delete [] "s3:DeleteObject" Delete [] delete::one;
        }
    };
}
pub(crate) use operations;

macro_rules! rows {
    ($($name:ident $target:ident $method:ident $selectors:tt $action:literal $class:ident [$($feature:ident),*]
       $module:ident::$handler:ident;)+) => {
        /// An S3 operation, by AWS's name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(missing_docs)]
        pub enum Operation {
            $($name,)+
        }

        /// All operations, in the order of [`Operation`].
        pub static ROWS: &[Row] = &[$(Row {
            operation: Operation::$name,
            name: stringify!($name),
            target: Target::$target,
            method: Method::$method,
            selectors: &$selectors,
            action: $action,
            class: Class::$class,
            features: &[$(Feature::$feature),*],
        },)+];
    };
}
operations!(rows);

impl Operation {
    /// The operation's row.
    pub fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    /// AWS's name, also used in metrics and logs.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The error for an operation that Hamster does not have.
    pub fn not_implemented(self) -> S3Error {
        Code::NotImplemented.with(format!("Hamster does not implement {}.", self.name()))
    }
}

impl Row {
    /// Whether this operation applies to the kind of resource that the path names.
    pub fn applies_to(&self, target: Target) -> bool {
        self.target == target || self.target == Target::Any
    }

    /// The query parameter that turns a plain request into this operation.
    pub fn subresource(&self) -> Option<&'static str> {
        self.selectors.first().copied().filter(|selector| !selector.contains('=') && !is_header(selector))
    }
}

/// Whether a selector is a header; otherwise it is a query parameter.
pub fn is_header(selector: &str) -> bool {
    selector.starts_with("x-amz-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_are_in_the_order_of_the_operations() {
        for (at, row) in ROWS.iter().enumerate() {
            assert_eq!(row.operation as usize, at, "{}", row.name);
        }
    }

    /// A row after one that matches all of its requests would never be reached.
    #[test]
    fn no_row_hides_a_later_one() {
        for (at, later) in ROWS.iter().enumerate() {
            for earlier in &ROWS[..at] {
                let covers = earlier.applies_to(later.target)
                    && earlier.method == later.method
                    && earlier.selectors.iter().all(|selector| later.selectors.contains(selector));
                assert!(!covers, "{} hides {}", earlier.name, later.name);
            }
        }
    }
}
