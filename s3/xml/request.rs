//! The documents that clients send: CreateBucketConfiguration, Delete and CompleteMultipartUpload.
//!
//! Each has a limit in bytes (the caller reads no more of the body) and in rows. Content that S3 allows and Hamster
//! does not support is NotImplemented; content that S3 does not allow is MalformedXML. Nothing is skipped.

use engine::hash::Checksum;

use super::parse::{Elements, malformed};
use crate::checksum;
use crate::error::{Code, S3Error};
use crate::limits::{
    CREATE_BUCKET_XML_BYTES_MAX, DELETE_OBJECTS_MAX, DELETE_XML_BYTES_MAX, PART_NUMBER_MAX,
    XML_BODY_BYTES_MAX,
};
use crate::name::ObjectKey;
use crate::part_number::PartNumber;

fn sized(document: &[u8], max: usize) -> Result<Elements<'_>, S3Error> {
    if document.len() > max {
        return Err(Code::MaxMessageLengthExceeded.field("MaxMessageLengthBytes", max.to_string()));
    }
    Elements::new(document)
}

/// Sets a value that was not set before.
fn once<T>(place: &mut Option<T>, value: T) -> Result<(), S3Error> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(malformed()),
    }
}

/// Parses CreateBucketConfiguration into its location constraint; an empty body has none.
pub async fn create_bucket(document: &[u8]) -> Result<Option<String>, S3Error> {
    if document.is_empty() {
        return Ok(None);
    }
    let mut elements = sized(document, CREATE_BUCKET_XML_BYTES_MAX)?;
    elements.root("CreateBucketConfiguration").await?;
    let mut location = None;
    while let Some(name) = elements.child().await? {
        match name.as_str() {
            "LocationConstraint" => once(&mut location, elements.text().await?.trim().to_owned())?,
            "Location" | "Bucket" => {
                return Err(Code::NotImplemented.with("Directory buckets are not implemented."));
            }
            "Tags" => return Err(Code::NotImplemented.with("Bucket tags are not implemented.")),
            _ => return Err(malformed()),
        }
    }
    elements.end().await?;
    Ok(location.filter(|location| !location.is_empty()))
}

/// A DeleteObjects request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delete {
    /// The objects to delete: at least one, at most [`DELETE_OBJECTS_MAX`].
    pub objects: Vec<DeleteObject>,
    /// Only failures are reported.
    pub quiet: bool,
}

/// One object of a [`Delete`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteObject {
    /// The key as sent: an invalid key fails on its own, without the others.
    pub key: String,
    /// The version id; may be `null`.
    pub version_id: Option<String>,
    /// Delete only if the current tag (without quotes) is this, or `*`.
    pub etag: Option<String>,
    /// Delete only if the size is this.
    pub size: Option<u64>,
    /// Delete only if last modified in this second.
    pub modified_s: Option<u64>,
}

impl DeleteObject {
    /// The key, validated.
    pub fn checked_key(&self) -> Result<ObjectKey, S3Error> {
        ObjectKey::parse(self.key.clone())
    }
}

/// Parses Delete.
pub async fn delete(document: &[u8]) -> Result<Delete, S3Error> {
    let mut elements = sized(document, DELETE_XML_BYTES_MAX)?;
    elements.root("Delete").await?;
    let (mut objects, mut quiet) = (Vec::new(), None);
    while let Some(name) = elements.child().await? {
        match name.as_str() {
            "Quiet" => once(&mut quiet, boolean(&elements.text().await?)?)?,
            "Object" if objects.len() < DELETE_OBJECTS_MAX => {
                objects.push(delete_object(&mut elements).await?)
            }
            _ => return Err(malformed()),
        }
    }
    elements.end().await?;
    if objects.is_empty() {
        return Err(malformed());
    }
    Ok(Delete { objects, quiet: quiet.unwrap_or(false) })
}

async fn delete_object(elements: &mut Elements<'_>) -> Result<DeleteObject, S3Error> {
    let (mut key, mut version_id, mut etag, mut size, mut modified_s) = (None, None, None, None, None);
    while let Some(name) = elements.child().await? {
        let text = elements.text().await?;
        match name.as_str() {
            "Key" => once(&mut key, text)?,
            "VersionId" => once(&mut version_id, text.trim().to_owned())?,
            "ETag" => once(&mut etag, unquoted(&text))?,
            "Size" => once(&mut size, text.trim().parse().map_err(|_| malformed())?)?,
            "LastModifiedTime" => once(&mut modified_s, date(text.trim()).ok_or_else(malformed)?)?,
            _ => return Err(malformed()),
        }
    }
    let version_id = version_id.filter(|id| !id.is_empty());
    Ok(DeleteObject { key: key.ok_or_else(malformed)?, version_id, etag, size, modified_s })
}

/// One part of a CompleteMultipartUpload request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompletePart {
    /// Its number.
    pub number: PartNumber,
    /// Without quotes.
    pub etag: String,
    /// The checksum that the client gives for it.
    pub checksum: Option<Checksum>,
}

/// Parses CompleteMultipartUpload; the parts must be in ascending order of their numbers.
pub async fn complete(document: &[u8]) -> Result<Vec<CompletePart>, S3Error> {
    let mut elements = sized(document, XML_BODY_BYTES_MAX)?;
    elements.root("CompleteMultipartUpload").await?;
    let mut parts: Vec<CompletePart> = Vec::new();
    while let Some(name) = elements.child().await? {
        if name != "Part" || parts.len() == PART_NUMBER_MAX as usize {
            return Err(malformed());
        }
        parts.push(complete_part(&mut elements).await?);
    }
    elements.end().await?;
    if parts.is_empty() {
        return Err(malformed());
    }
    if parts.windows(2).any(|pair| pair[0].number >= pair[1].number) {
        return Err(Code::InvalidPartOrder.into());
    }
    Ok(parts)
}

async fn complete_part(elements: &mut Elements<'_>) -> Result<CompletePart, S3Error> {
    let (mut number, mut etag, mut found) = (None, None, None);
    while let Some(name) = elements.child().await? {
        let text = elements.text().await?;
        match name.as_str() {
            "PartNumber" => once(&mut number, part_number(text.trim())?)?,
            "ETag" => once(&mut etag, unquoted(&text))?,
            name => {
                let algorithm = checksum::algorithm_of_element(name).ok_or_else(malformed)?;
                // Some clients write an element for every algorithm that they know, empty if they have no value.
                if !text.trim().is_empty() {
                    once(&mut found, checksum::parse(algorithm, text.trim().as_bytes())?)?;
                }
            }
        }
    }
    Ok(CompletePart {
        number: number.ok_or_else(malformed)?,
        etag: etag.ok_or_else(malformed)?,
        checksum: found,
    })
}

/// A number out of range is an invalid argument; anything that is not a number makes the document malformed.
fn part_number(text: &str) -> Result<PartNumber, S3Error> {
    let number = text.parse().map_err(|_| malformed())?;
    PartNumber::new(number).ok_or_else(|| PartNumber::refusal(text))
}

fn boolean(text: &str) -> Result<bool, S3Error> {
    match text.trim() {
        "true" | "True" | "1" => Ok(true),
        "false" | "False" | "0" | "" => Ok(false),
        _ => Err(malformed()),
    }
}

fn unquoted(etag: &str) -> String {
    etag.trim().trim_matches('"').to_owned()
}

fn date(text: &str) -> Option<u64> {
    crate::time::parse_iso8601_ms(text.as_bytes())
        .map(|ms| ms / 1000)
        .or_else(|| crate::time::parse_http_date(text.as_bytes()))
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
