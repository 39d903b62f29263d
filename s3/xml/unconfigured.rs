//! The responses that say that nothing is configured.

use super::Owner;
use super::write::Xml;

/// Appends an empty document.
pub fn empty(root: &str, out: &mut Vec<u8>) {
    let mut xml = Xml::document(out);
    xml.root(root);
    xml.close(root);
}

/// Appends an empty list of configurations.
pub fn no_configurations(root: &str, out: &mut Vec<u8>) {
    let mut xml = Xml::document(out);
    xml.root(root);
    xml.text("IsTruncated", "false");
    xml.close(root);
}

/// Appends the `Tagging` of an object without tags.
pub fn no_tags(out: &mut Vec<u8>) {
    let mut xml = Xml::document(out);
    xml.root("Tagging");
    xml.open("TagSet");
    xml.close("TagSet");
    xml.close("Tagging");
}

/// Appends the `RequestPaymentConfiguration` of a bucket whose owner pays.
pub fn bucket_owner_pays(out: &mut Vec<u8>) {
    let mut xml = Xml::document(out);
    xml.root("RequestPaymentConfiguration");
    xml.text("Payer", "BucketOwner");
    xml.close("RequestPaymentConfiguration");
}

/// Appends the `OwnershipControls` of a bucket without access control lists.
pub fn bucket_owner_enforced(out: &mut Vec<u8>) {
    let mut xml = Xml::document(out);
    xml.root("OwnershipControls");
    xml.open("Rule");
    xml.text("ObjectOwnership", "BucketOwnerEnforced");
    xml.close("Rule");
    xml.close("OwnershipControls");
}

/// Appends the `AccessControlPolicy` of a bucket or object that only `owner` may access.
pub fn owner_has_full_control(owner: Owner<'_>, out: &mut Vec<u8>) {
    let mut xml = Xml::document(out);
    xml.root("AccessControlPolicy");
    owner.write("Owner", &mut xml);
    xml.open("AccessControlList");
    xml.open("Grant");
    xml.open("Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"CanonicalUser\"");
    xml.text("ID", owner.id);
    xml.text("DisplayName", owner.account_id);
    xml.close("Grantee");
    xml.text("Permission", "FULL_CONTROL");
    xml.close("Grant");
    xml.close("AccessControlList");
    xml.close("AccessControlPolicy");
}
